"""Fuzzing of everything that is read from outside, in a process with little memory and little time for each case.

    python -m tests.fuzz images --seconds=3600
    python -m tests.fuzz all --seconds=60

A reader is given what it reads after hypothesis has changed it: bytes cut, flipped, doubled and overwritten, values of
JSON replaced. It may return or raise what its docstring says, in LIMIT_SECONDS and MEMORY more than it began with;
anything else is a finding, printed with what to keep of it. What is made of tables, of texts in tars and of JSON is
bounded by COLUMN_BYTES and JSON_VALUES of `storage.reading`: here by BOUND, and what takes MADE times that is a finding
too.
What is in tests/bombs.py, which is little and would become much, is among what is changed.
"""

from __future__ import annotations

import argparse
import atexit
import base64
import contextlib
import functools
import io
import json
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from experiments.training import open_clip_files
from multimap_jax.editing.editor import Editor, begun, of_content
from multimap_jax.editing.edits_file import read_edits
from multimap_jax.encoders.clip.checkpoint import save_checkpoint, towers_from_arrays
from multimap_jax.encoders.clip.config import CLIPConfig, ImageConfig, TextConfig
from multimap_jax.encoders.clip.preprocessing import read_preprocessing
from multimap_jax.encoders.clip.tokenizer import read_tokenizer
from multimap_jax.encoders.clip.towers import Towers
from multimap_jax.encoders.open_clip.config import read_config
from multimap_jax.encoders.open_clip.preprocessing import make_preprocess
from multimap_jax.encoders.siglip.tokenizer import read_tokenizer as read_siglip_tokenizer
from multimap_jax.encoders.weights import read_arrays
from multimap_jax.images.decoding import Unreadable, decode
from multimap_jax.persistence import ARRAYS, MODEL_JSON, read_model
from multimap_jax.runs import cache as store
from multimap_jax.runs.answers import AnswerCache
from multimap_jax.runs.evaluation import read_labels
from multimap_jax.runs.finished import read_run
from multimap_jax.runs.models import model_name
from multimap_jax.sources import formats as kinds
from multimap_jax.sources import plan as shard_plan
from multimap_jax.sources.detect import open_source
from multimap_jax.sources.embeddings import read_embeddings
from multimap_jax.sources.source import PackedImage
from multimap_jax.storage import output
from multimap_jax.storage import reading as files
from multimap_jax.storage.reading import explained, read_json
from tests.bombs import bombs
from tests.siglip_files import write_siglip, write_siglip_2, write_spiece

LIMIT_SECONDS, MEMORY = 20, 2**30  # of a case; what it may not come near to is half as much again
BOUND, MADE = (
    2**25,
    8,
)  # bytes that are made of a table, of texts in a tar or of JSON, and how much memory that may take
SMALL = CLIPConfig(TextConfig(300, 8, 8, 1, 2, 8, 8), ImageConfig(8, 4, 8, 1, 2, 8, 8))
NUMBERS = (0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)

# ----------------------------------------------------------------------------------------------------------- changes


@st.composite
def changed_bytes(draw, seeds: tuple[bytes, ...]) -> bytes:
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        place = int(draw(st.floats(0, 1, exclude_max=True)) * max(1, len(content)))
        place = min(place, draw(st.sampled_from((64, 512, len(content) + 1))))  # headers matter most
        kind = draw(st.sampled_from("cut flip number drop double insert text".split()))
        if kind == "cut":
            del content[place:]
        elif kind == "flip" and place < len(content):
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "number":
            size, order = draw(st.sampled_from((1, 2, 4, 8))), draw(st.sampled_from(("big", "little")))
            number = draw(st.sampled_from(NUMBERS)) % 256**size
            content[place : place + size] = number.to_bytes(size, order)
        elif kind == "drop":
            del content[place : place + draw(st.integers(1, 32))]
        elif kind == "double":
            content[place:place] = content[place : place + draw(st.integers(1, 2000))]
        elif kind == "insert":
            content[place:place] = draw(st.binary(max_size=16))
        elif kind == "text":
            content[place:place] = draw(st.text(max_size=6)).encode("utf-8", "surrogatepass")
    return bytes(content)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(NUMBERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


@st.composite
def changed_json(draw, content) -> bytes:
    """Some values of a JSON content replaced, taken away or put under other names; at times the bytes too."""
    content = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 3))):
        place, key, inner = None, None, content
        while isinstance(inner, dict | list) and inner and (place is None or draw(st.integers(0, 3))):
            place = inner
            key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
            inner = inner[key]
        if place is None or not draw(st.integers(0, 20)):
            content = draw(VALUES)
        elif draw(st.integers(0, 4)):
            place[key] = draw(VALUES)
        else:
            del place[key]
    found = json.dumps(content).encode()
    return draw(changed_bytes((found,))) if draw(st.integers(0, 4)) == 0 else found


# ----------------------------------------------------------------------------------------------------------- readers


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    image = Image.effect_noise((24, 16), 60).convert("L" if kind == "SGI" else "RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(file, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}))
    return file.getvalue()


@functools.cache
def pictures() -> tuple[bytes, ...]:
    found = []
    for kind in kinds.formats():
        try:
            found.append(picture(kind))
        except (OSError, KeyError, ValueError):  # read, and not written
            continue
    animated = io.BytesIO()
    frames = [Image.new("P", (9, 9), i) for i in range(3)]
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    return (*found, animated.getvalue())


def read_picture(path: Path | PackedImage) -> None:
    found = decode(path, 0, lambda image: np.asarray(image))
    if isinstance(found, Unreadable):
        assert "\n" not in found.reason, found.reason
        assert "MemoryError" not in found.reason, found.reason
    else:
        assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3


def repaired(content: bytes) -> bytes:
    """A png with the checksums that its chunks should have, so that what was changed is looked at."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    found, place = content[:8], 8
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        body = content[place + 4 : place + 8 + size]
        found += content[place : place + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        place += 12 + size
    return found + content[place:]


@functools.cache
def checkpoint() -> Path:
    """A small checkpoint, written once and taken away at the end."""
    from experiments.training.byte_tokenizer import write_tokenizer
    from experiments.training.embedded_files import preprocessing

    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    vocabulary = write_tokenizer(folder, ["red"], 8)
    save_checkpoint(folder, Towers(SMALL))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing(8)))
    (folder / "words").write_text(str(vocabulary))
    (folder / "rows.csv").write_text("path\na.png\nb.png\n")
    (folder / "rows.npy").write_bytes(npy())
    return folder


def file_of(name: str) -> bytes:
    return (checkpoint() / name).read_bytes()


def in_folder(name: str, others: str, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    """Reads a folder with the changed file, and links to `others` of the checkpoint."""

    def given(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for other in others.split():
                Path(folder, other).symlink_to(checkpoint() / other)
            Path(folder, name).write_bytes(content)
            read(Path(folder))

    return given


def as_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    return in_folder(name, "", lambda folder: read(folder / name))


def changed_header(content: bytes):
    """Weights whose header is changed as JSON."""
    size = int.from_bytes(content[:8], "little")
    found = changed_json(json.loads(content[8 : 8 + size]))
    return found.map(lambda header: len(header).to_bytes(8, "little") + header + content[8 + size :])


@functools.cache
def fitted() -> dict[str, bytes]:
    """The files of a model."""
    import multimap_jax as mm

    rows = np.random.default_rng(0).normal(size=(20, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    aspect = mm.Aspect("color", "fruit", ("red", "green"))
    config = mm.ProxyConfig(steps=1)
    model = mm.MultiMaP(aspect, n_clusters=2, config=config, keep_proxies=True).fit(rows)
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def model_reader(name: str) -> Callable[[bytes], None]:
    def given(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for other, own in fitted().items():
                Path(folder, other).write_bytes(content if other == name else own)
            read_model(Path(folder))

    return given


def parquet(**columns) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


PLAN = parquet(name=["a.png", "b.png"], version=["1", "2"], shard=[0, 0])
METADATA = parquet(image_path=["a.png", "b.png"], version=["1", "2"])
SKIPPED = parquet(image_path=["c.png"], version=["1"], reason=["the file is empty"], again=[False])


ANSWERED = parquet(
    name=["a.png", "b.png"], version=["1", "2"], answer=["red", ""], reason=["", "the answer is empty"],
    again=[False, True],
)  # fmt: skip


def answers_reader(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = AnswerCache(Path(folder), "answers/color-0123456789abcdef")
        path = found.out / found.file(0)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        with little():
            if shard_plan.is_sound(found.check, 0):
                found.held(0), found.gather({("a.png", "1"): 0})


def shard(kind: str) -> Callable[[bytes], None]:
    def given(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            found = store.EmbeddingCache(Path(folder), 8)
            for name, own in (("metadata", METADATA), ("skipped", SKIPPED), ("img_emb", npy())):
                path = found.out / found.file(0, name)
                path.parent.mkdir(parents=True)
                path.write_bytes(content if name == kind else own)
            with little():
                shard_plan.is_sound(found.check, 0)

    return given


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.eye(2, 8, dtype=np.float32))
    return file.getvalue()


def fit_of_two() -> bytes:
    file = io.BytesIO()
    rows = np.zeros((2, 4), np.float32)
    names = {"names": np.array(["a", "b"]), "versions": np.array(["1", "2"])}
    numbers = {"loss": rows[:, 0], "losses": rows[0], "reference": np.zeros(2, int), "image_steps": 2, "block_size": 8}
    np.savez(file, proxies=rows, prompt_embeddings=rows, **names, **numbers)
    return file.getvalue()


@functools.cache
def tar() -> bytes:
    """Two images with what stands beside them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, content in (("a.png", pictures()[0]), ("a.txt", b"red"), ("b" * 150 + ".jpg", pictures()[1])):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return file.getvalue()


def table_of_images() -> bytes:
    return parquet(image=[{"bytes": pictures()[0], "path": "a.png"}, {"bytes": b"x", "path": None}], label=[0, 1])


@contextlib.contextmanager
def little():
    """A finding where what is done in this context takes more than it may make of a table."""
    with contextlib.suppress(OSError):  # the highest so far is forgotten
        Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    try:
        yield
    finally:
        made = status("VmHWM") - before
        assert made < MADE * BOUND, f"{made / 2**20:.0f} MB of a table, expected {MADE * BOUND / 2**20:.0f} at most"


def status(name: str) -> int:
    """Bytes of memory, as Linux says."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def making_little(read: Callable[[Path], object]) -> Callable[[Path], object]:
    def given(path: Path) -> None:
        with little():
            read(path)

    return given


def read_source(path: Path) -> None:
    """Lists a source and opens what is in it."""
    with little():
        source = open_source(path)
        source.columns_of(source.names)
    source.versions()
    for image in list(source.images.values())[:5]:
        read_picture(image)


HASHES = {ARRAYS: "0" * 64, MODEL_JSON: "1" * 64}
RUN = {
    "aspects": [{"name": "color", "model": model_name("color", HASHES), "files": HASHES}],
    "clip": {"name": "embedded", "hash": "0"},
    "settings": {"random_state": 0, "leftover": 0.0},
    "config": {"recipe": "default", "steps": 80},
}
EDITS = {
    "edits": [
        {"aspect": "color", "merge": ["red", "pink"], "into": "warm"},
        {"aspect": "color", "rename": "green", "to": "leaf"},
        {"aspect": "color", "split": "warm", "into": 2},
        {"aspect": "color", "move": ["0.png"], "to": "leaf"},
        {"aspect": "color", "leftover": ["1.png"]},
    ]
}
GROUPS = {
    "groups": ["a", "b", "c"],
    "to": [0, -1],
    "splits": [{"centroids": [[0.0, 1.0], [1.0, 0.0]], "to": [1, 2]}],
    "pinned": {"0.png": {"group": -1, "centroid": 1, "distance": 0.5}},
}
ROWS = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1], [5, 5], [5, 6]])
TABLE = b"image,color\na.png,red\nb.png,green\n"
JSONS = "config.json preprocessor_config.json tokenizer_config.json vocab.json merges.txt model.safetensors".split()


def without(name: str) -> str:
    return " ".join(other for other in JSONS if other != name)


def edits_reader(path: Path) -> None:
    """Reads edits and makes them, of six images in three groups."""
    edits, labels, names = read_edits(path, ["color"]), np.arange(6) // 2, [f"{i}.png" for i in range(6)]
    made = Editor(
        begun(["red", "pink", "green"]), labels, np.zeros(6), np.zeros(6, bool), lambda: ROWS, ROWS[::2], names, 0
    )  # fmt: skip
    for i, edit in enumerate(edits):
        made.make(edit, edits[i + 1 :])


def groups_reader(path: Path) -> None:
    content = read_json(path)
    with explained(str(path), "make it again"):
        now = of_content(content, ROWS[:2])
    now.assign(np.arange(6) % 2, np.full(6, 0.5), np.zeros(6, bool), ROWS, [f"{i}.png" for i in range(6)], ROWS[:2])


RECORD = {"files": {"labels.csv": [[1, "0" * 64]], "run.json": [[2, "0" * 64], [3, "1" * 64]]}}


def record_reader(folder: Path) -> None:
    """Deletes what a list of files says: nothing, for none of it was written so."""
    record = folder / output.HIDDEN / "written" / "results.json"
    record.parent.mkdir(parents=True)
    (folder / "record").rename(record)
    for name in ("labels.csv", "run.json", "mine.txt"):
        (folder / name).write_text("mine")
    output.delete(folder, "results")
    assert all((folder / name).exists() for name in ("labels.csv", "run.json", "mine.txt"))


def rows_reader(folder: Path) -> None:
    with little():
        found = read_embeddings(folder / "rows.npy")
    assert np.isfinite(found.rows).all()


def config_reader(folder: Path) -> None:
    config = CLIPConfig.from_json(read_json(folder / "config.json"))
    towers_from_arrays(read_arrays(folder), config, "the fuzzed checkpoint")


def open_clip_reader(path: Path) -> None:
    config, scaling = read_config(path)
    if scaling:
        made = make_preprocess(scaling, config.image.size)(Image.new("RGB", (5, 3), "white"))
        assert made.shape == (config.image.size, config.image.size, 3) and np.isfinite(made).all()


def weights_reader(folder: Path) -> None:
    towers_from_arrays(read_arrays(folder), SMALL, "the fuzzed checkpoint")


@functools.cache
def readers() -> dict[str, tuple]:
    """Name -> (strategy of bytes, what reads them)."""
    weights = file_of("model.safetensors")
    parsed = {name: json.loads(file_of(name)) for name in JSONS if name.endswith(".json")}
    vocabulary = dataclass_config()
    index = {"weight_map": {"logit_scale": "model-1.safetensors"}}
    model = fitted()
    known = {"a.png": 0, "b.png": 1}
    labels = functools.partial(read_labels, aspects=["color"], known_images=known, images=Path("photos"))
    flax = functools.partial(in_folder, "flax_model.msgpack", "config.json")
    return {
        "images": (changed_bytes(pictures()).map(repaired), as_file("x.jpg", read_picture)),
        "weights": (changed_bytes((weights,)), in_folder("model.safetensors", "", weights_reader)),
        "header": (changed_header(weights), in_folder("model.safetensors", "", weights_reader)),
        "flax": (changed_bytes((flax_weights(),)), flax(weights_reader)),
        "index": (changed_json(index), in_folder("model.safetensors.index.json", "", read_arrays)),
        "config": (changed_json(parsed["config.json"]), in_folder("config.json", "model.safetensors", config_reader)),
        "open_clip": (
            changed_json(open_clip_files.config("longest", 550)),
            as_file(open_clip_files.CONFIG, open_clip_reader),
        ),
        "preprocessor": (
            changed_json(parsed["preprocessor_config.json"]),
            in_folder("preprocessor_config.json", "", lambda folder: read_preprocessing(folder, SMALL.image.size)),
        ),
        "vocabulary": (
            changed_json(parsed["vocab.json"]),
            in_folder("vocab.json", without("vocab.json"), lambda folder: read_tokenizer(folder, vocabulary)),
        ),
        "merges": (
            changed_bytes((file_of("merges.txt"),)),
            in_folder("merges.txt", without("merges.txt"), lambda folder: read_tokenizer(folder, vocabulary)),
        ),
        "tokenizer": (
            changed_json(parsed["tokenizer_config.json"]),
            in_folder("tokenizer_config.json", without("tokenizer_config.json"), tokenizer_reader),
        ),
        "unigram": (changed_json(json.loads(siglip("unigram")[0])), siglip_reader("unigram")),
        "pieces": (changed_bytes((siglip("pieces")[0],)), siglip_reader("pieces")),
        "gemma": (changed_json(json.loads(siglip("gemma")[0])), siglip_reader("gemma")),
        "tar": (changed_bytes((tar(), *bombs("tar"))), as_file("a.tar", read_source)),
        "table": (changed_bytes((table_of_images(), *bombs("table"))), as_file("a.parquet", read_source)),
        "list": (changed_bytes((b"path,license\na.png,x\n./b.png,y\n", *bombs("list"))), as_file("a.csv", read_source)),
        "rows": (changed_bytes((npy(),)), in_folder("rows.npy", "rows.csv", rows_reader)),
        "names": (
            changed_bytes((parquet(path=["a.png", "b.png"]), *bombs("names"))),
            in_folder("rows.parquet", "rows.npy", rows_reader),
        ),
        "labels": (
            changed_bytes((TABLE, TABLE.replace(b",", b";"), *bombs("labels"))),
            as_file("truth.csv", making_little(labels)),
        ),
        "json": (
            changed_bytes((json.dumps(EDITS).encode(), *bombs("json"))),
            as_file("a.json", making_little(read_json)),
        ),
        "run": (changed_json(RUN), in_folder("run.json", "", read_run)),
        "record": (changed_json(RECORD), in_folder("record", "", record_reader)),
        "edits": (changed_json(EDITS), as_file("edits.json", edits_reader)),
        "groups": (changed_json(GROUPS), as_file("groups.json", groups_reader)),
        "model": (changed_json(json.loads(model[MODEL_JSON])), model_reader(MODEL_JSON)),
        "arrays": (changed_bytes((model[ARRAYS],)), model_reader(ARRAYS)),
        "plan": (
            changed_bytes((PLAN, *bombs("plan"))),
            as_file("plan_000000.parquet", making_little(lambda path: shard_plan.is_sound(shard_plan.read_plan, path))),
        ),
        "metadata": (changed_bytes((METADATA,)), shard("metadata")),
        "skipped": (changed_bytes((SKIPPED,)), shard("skipped")),
        "answers": (changed_bytes((ANSWERED,)), answers_reader),
        "embeddings": (changed_bytes((npy(),)), shard("img_emb")),
        "proxies": (
            changed_bytes((fit_of_two(),)),
            as_file("proxies_000000.npz", lambda path: shard_plan.is_sound(store.check_fit, path, (4, 4))),
        ),
    }


NAMES = (
    "images weights header flax index config open_clip preprocessor vocabulary merges tokenizer unigram pieces gemma "
    "tar table list rows names labels json run record edits groups model arrays plan metadata skipped answers "
    "embeddings proxies"
).split()


def dataclass_config() -> TextConfig:
    return TextConfig(int((checkpoint() / "words").read_text()), 8, 8, 1, 2, 8, 8)


def tokenizer_reader(folder: Path) -> None:
    read_tokenizer(folder, dataclass_config()).pad(["a red fruit"[:4]])


SIGLIP = {  # reader -> (its file, what writes it)
    "unigram": ("tokenizer.json", write_siglip),
    "pieces": ("spiece.model", write_spiece),
    "gemma": ("tokenizer.json", write_siglip_2),
}


@functools.cache
def siglip(name: str) -> tuple[bytes, TextConfig]:
    """(a tokenizer of SigLIP or SigLIP 2, the configuration of its tower)."""
    file, write = SIGLIP[name]
    with tempfile.TemporaryDirectory() as folder:
        size = write(Path(folder))
        return Path(folder, file).read_bytes(), TextConfig(size, 64, 8, 1, 2, 8, 8)


def siglip_reader(name: str) -> Callable[[bytes], None]:
    def read(folder: Path) -> None:
        found = read_siglip_tokenizer(folder, siglip(name)[1])
        ids = found.pad(["a RED fruit", "ﬁ\u0301 ½ 日本 \n\n\u2603", ""])
        assert ids.min() >= 0 and ids.max() < siglip(name)[1].vocabulary

    return in_folder(SIGLIP[name][0], "", read)


def flax_weights() -> bytes:
    from flax.serialization import msgpack_serialize
    from flax.traverse_util import unflatten_dict
    from safetensors.numpy import load

    arrays = load(file_of("model.safetensors"))
    return msgpack_serialize(unflatten_dict({tuple(name.split(".")): value for name, value in arrays.items()}))


# -------------------------------------------------------------------------------------------------------------- cases


class TooLong(BaseException):
    """A case that does not end."""


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def case(read: Callable[[bytes], None], content: bytes) -> None:
    """One case: returns, or raises what is a finding."""

    def late(*_):
        raise TooLong(f"not done after {LIMIT_SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT_SECONDS)
    before = peak()
    try:
        read(content)
    except (ValueError, FileNotFoundError) as error:
        assert str(error).strip() and len(str(error)) < 20_000, repr(error)
    finally:
        signal.alarm(0)
    assert peak() - before < MEMORY, f"{(peak() - before) / 2**20:.0f} MB for one case"


def fuzz(name: str, examples: int, number: int) -> int:
    """Runs a reader on so many cases; returns their number. Raises what was found."""
    strategy, read = readers()[name]
    ran, last = 0, b""

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )
    @given(strategy)
    def run(content):
        nonlocal ran, last
        ran, last = ran + 1, content
        case(read, content)

    try:
        run()
    except BaseException:
        print(f"{name}: {base64.b85encode(zlib.compress(last)).decode()}", file=sys.stderr)
        raise
    return ran


def bound_tables() -> None:
    """What tables and JSON may become, small enough that more than that is seen."""
    files.COLUMN_BYTES, files.JSON_VALUES = BOUND, BOUND // 64


def limit_memory() -> None:
    """Half as much again as MEMORY of address space more than there is now: libraries take some without using it."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY * 3 // 2, now + MEMORY * 3 // 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("reader", choices=[*NAMES, "all"])
    parser.add_argument("--seconds", type=float, default=0, help="how long each reader is tried; else --examples once")
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    bound_tables()
    names = NAMES if arguments.reader == "all" else [arguments.reader]
    for name in names:  # what is loaded once is loaded before memory is counted
        case(readers()[name][1], b"")
    limit_memory()
    for name in names:
        begin, number, ran = time.monotonic(), arguments.seed, 0
        while not ran or time.monotonic() - begin < arguments.seconds:
            ran += fuzz(name, arguments.examples, number)
            number += 1
        print(f"{name}: {ran:,} cases in {time.monotonic() - begin:.0f} s, nothing found", flush=True)


if __name__ == "__main__":
    main()
