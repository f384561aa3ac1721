"""The rooms of the package and the order in which they may import one another."""

import ast
from pathlib import Path

import multimap_jax

PACKAGE = Path(multimap_jax.__file__).parent
# From the ground up, as BUILD.md shows them. A room imports itself and the rooms before it.
ROOMS = (
    "choices errors settings arrays storage runtime sources images encoders prompts proxies clustering features words "
    "report persistence estimator editing runs cli notebook scenes"
).split()


def room_of(file):
    """The first level of the package that a file belongs to."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(file):
    """The rooms that a file imports anywhere in it, with the line of each: at the top and within functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names = [base] if base != "multimap_jax" else [f"multimap_jax.{name.name}" for name in node.names]
        else:
            continue
        for name in names:
            assert not name.startswith("."), f"{file}: {name} is imported by a relative name"
            if name.startswith("multimap_jax.") and not name.endswith("__version__"):
                yield name.split(".")[1], node.lineno


def test_every_room_is_known():
    assert {room_of(file) for file in PACKAGE.rglob("*.py")} == {*ROOMS, "__init__", "__main__"}
    assert len(ROOMS) + 2 <= 24


def test_a_room_imports_only_rooms_before_it():
    upward = [
        f"{file.relative_to(PACKAGE)}:{line} imports {other}"
        for file in sorted(PACKAGE.rglob("*.py"))
        if room_of(file) in ROOMS
        for other, line in imported_rooms(file)
        if ROOMS.index(other) > ROOMS.index(room_of(file))
    ]
    assert not upward, "\n".join(upward)


def imported_files(file):
    """The files of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("multimap_jax."):
            base = PACKAGE.parent / node.module.replace(".", "/")
            names = [base.with_suffix(".py"), *(base / f"{name.name}.py" for name in node.names)]
            yield from (name for name in names if name.exists())


def test_no_files_import_each_other_in_a_circle():
    files = {file: set(imported_files(file)) for file in PACKAGE.rglob("*.py") if room_of(file) in ROOMS}
    while free := [file for file, needed in files.items() if not needed & files.keys()]:
        for file in free:
            del files[file]
    assert not files, sorted(str(file.relative_to(PACKAGE)) for file in files)


def test_nothing_outside_encoders_asks_which_family_an_encoder_is():
    families = {path.name for path in (PACKAGE / "encoders").iterdir() if (path / "family.py").exists()} - {"clip"}
    assert {"metaclip_2", "siglip"} <= families
    asking = []
    for file in sorted(PACKAGE.rglob("*.py")):
        if room_of(file) == "encoders":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            texts = (getattr(node, "value", None), getattr(node, "module", None))
            said = {part for text in texts if isinstance(text, str) for part in text.split(".")}
            if said & families or getattr(node, "attr", "") in ("towers", "model_type"):
                asking.append(f"{file.relative_to(PACKAGE)}:{node.lineno}")
    assert not asking


def test_few_files_lie_beside_the_rooms():
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= 12


def test_the_document_shows_the_same_rooms_in_the_same_order():
    text = (PACKAGE.parent / "BUILD.md").read_text()
    layout = text[text.index("## Layout") :].split("\n## ")[0]
    shown = [line.split()[0].removesuffix(".py").rstrip("/") for line in layout.splitlines() if line[:6] == " " * 6]
    assert [name for name in shown if name in ROOMS] == ROOMS


def test_type_checkers_see_every_public_name():
    block, _ = [node for node in ast.parse((PACKAGE / "__init__.py").read_text()).body if isinstance(node, ast.If)]
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"multimap_jax.{module}" for name, module in multimap_jax._PUBLIC.items()}
