"""The verbs `edit` and `export` of the command: their flags, their help, and what they begin."""

from __future__ import annotations

from collections.abc import Callable

from absl import flags

from multimap_jax.storage.paths import parse_path

HOWS = ("copy", "link")
EDIT_USAGE = """Merges, splits and renames groups of a finished run, and moves single images. Nothing is learnt again.

Open report.html of the run, make the edits there, save them, and put them into effect:

  multimap edit --run=out/ --edits=edits.json --out=edited/
  multimap edit --run=edited/ --edits=more.json --out=again/      (edits of edited groups)
  multimap apply --run=edited/ --images=new/ --out=more/          (new images into the edited groups)

edits.json may be written by hand; one edit goes after the other, and each calls groups what they are called by then:

  {"edits": [{"aspect": "color", "merge": ["red", "pink"], "into": "red"},
             {"aspect": "color", "rename": "red", "to": "warm"},
             {"aspect": "color", "split": "green", "into": 2},
             {"aspect": "color", "move": ["a.png"], "to": "warm"},
             {"aspect": "color", "leftover": ["b.png"]}]}
"""
EXPORT_USAGE = """Takes the groups of a finished run away: folders of images, or a table for other tools.

  multimap export --run=out/ --aspect=color --to=folders/ --how=link --dry_run    (says what would be done)
  multimap export --run=out/ --aspect=color --to=folders/                         (a folder for each group)
  multimap export --run=out/ --to=table.parquet                   (groups, coordinates, embeddings; or table.csv)

The images of the run stay where and as they are, and nothing that is there already is overwritten. Each new folder
gets a hidden file, .multimap.json, by which a later run passes it over when it reads the images of a folder above it.
"""


def define_edit_flags(common: Callable) -> flags.FlagValues:
    """The flags of `multimap edit`. common: adds those that every verb has."""
    values = flags.FlagValues()
    define = {"flag_values": values}
    flags.DEFINE_string("run", None, "folder of a finished run, its --out", **define)
    flags.DEFINE_string("edits", None, "file of edits, as the page saves it", **define)
    flags.DEFINE_string("out", None, "folder for the edited run, another one than the run's", **define)
    _define_places(values)
    return common(values)


def define_export_flags(common: Callable) -> flags.FlagValues:
    """The flags of `multimap export`."""
    values = flags.FlagValues()
    define = {"flag_values": values}
    flags.DEFINE_string("run", None, "folder of a finished run, its --out", **define)
    flags.DEFINE_multi_string("aspect", [], "which groups; a table has those of all aspects if none is named", **define)
    flags.DEFINE_string("to", None, "folder for the folders, or a table: .parquet or .csv", **define)
    flags.DEFINE_enum("how", "copy", HOWS, "images are copied, or symbolic links made to them", **define)
    flags.DEFINE_bool("dry_run", False, "only say what would be done", **define)
    _define_places(values)
    return common(values, labels=False)


def _define_places(values: flags.FlagValues) -> None:
    define = {"flag_values": values}
    flags.DEFINE_string("images", None, "where the run's images lie now", **define)
    flags.DEFINE_string("embeddings", None, "where the run's embeddings lie now", **define)
    flags.DEFINE_string("clip", None, "where the run's checkpoint lies now", **define)


def check_given(values: flags.FlagValues, names: tuple[str, ...]) -> None:
    """ValueError for a flag that is needed and was not given."""
    for name in names:
        if not values[name].value:
            raise ValueError(f"--{name} is missing: {values[name].help}")


def _places(values: flags.FlagValues) -> dict:
    given = {name: values[name].value for name in ("images", "embeddings")}
    return {name: parse_path(value) if value else None for name, value in given.items()} | {"clip": values.clip}


def begin_edit(values: flags.FlagValues, line: str, say: Callable[[str], None], progress: bool) -> None:
    check_given(values, ("run", "edits", "out"))

    from multimap_jax.runs.edit import EditJob, run_edit
    from multimap_jax.runtime.compilation import start_jax

    start_jax()
    labels = parse_path(values.labels) if values.labels else None
    places = (parse_path(values[name].value) for name in ("run", "edits", "out"))
    run_edit(EditJob(*places, labels=labels, **_places(values), line=line), say, progress)


def begin_export(values: flags.FlagValues, _: str, say: Callable[[str], None], progress: bool) -> None:
    check_given(values, ("run", "to"))

    from multimap_jax.runs.export import TABLES, Export, run_export

    run, to = parse_path(values.run), parse_path(values.to)
    job = Export(run, to, tuple(values.aspect), values.how, values.dry_run, **_places(values))
    if job.to.suffix.lower() in TABLES:
        from multimap_jax.runtime.compilation import start_jax

        start_jax()
    run_export(job, say, progress)
