"""Hostile and broken input, kind by kind: one sentence says what is wrong, before anything is computed."""

import codecs
import io
import json
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import multimap_jax as mm
from multimap_jax.cli import main as cli
from multimap_jax.encoders.clip.model import EMBEDDED, Clip
from multimap_jax.images.decoding import Unreadable, decode
from multimap_jax.runs.evaluation import read_labels
from multimap_jax.scenes import write_scenes
from multimap_jax.sources.plan import ShardPlan
from multimap_jax.storage.filenames import path_of_name


def encoded(kind, size=(24, 16), mode="RGB", **options):
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(file, kind, **options)
    return file.getvalue()


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width, height, data=b"", depth=8, color=2):
    """A png whose header says what it likes."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def sparse(path, content, size):
    path.write_bytes(content)
    os.truncate(path, size)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n(x) print\nshowpage\n"
JPEG = encoded("JPEG")
# Name -> (content of the file x.jpg, or what makes it there; what is said).
IMAGES = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello", "not an image"),
    "html": (b"<!doctype html><html><body>404</body></html>", "not an image"),
    "zeros": (bytes(1000), "not an image"),
    "postscript": (POSTSCRIPT, "not an image"),
    "pdf": (b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n", "not an image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "not an image"),
    "zip": (b"PK\x03\x04" + bytes(60), "not an image"),
    "a program": (b"\x7fELF" + bytes(200), "not an image"),
    "a pickle": (b"cos\nsystem\n(S'true'\ntR.", "not an image"),
    "a windows metafile": (encoded("BMP")[:0] + b"\xd7\xcd\xc6\x9a" + bytes(80), "not an image"),
    "a fits table": (b"SIMPLE  =                    T" + b" " * 2850, "not an image"),
    "a video": (b"\x00\x00\x00\x18ftypmp42" + bytes(64), "not an image"),
    "half a jpeg": (JPEG[: len(JPEG) // 2], "runcated"),
    "a jpeg's head": (JPEG[:12], "runcated"),
    "half a png": (encoded("PNG")[:90], "runcated"),
    "half a gif": (encoded("GIF")[:40], ""),
    "half a webp": (encoded("WEBP")[:40], ""),
    "half a tiff": (encoded("TIFF")[:100], ""),
    "half a bmp": (encoded("BMP")[:100], "runcated"),
    "half an avif": (encoded("AVIF")[:200], ""),
    "half a jpeg2000": (encoded("JPEG2000")[:60], ""),
    "a png without pixels": (png(40, 40), "runcated"),
    "a png of no size": (png(0, 0), ""),
    "a png of no width": (png(0, 10), ""),
    "narrow": (
        encoded("PNG", (3000, 1)),
        "3,000 by 1 pixels: too long and narrow (one side is over 50 times the other)",
    ),
    "very narrow": (png(100_000, 1, bytes(300_001)), "100,000 by 1 pixels"),
    "narrow and high": (png(1, 300_000, bytes(1_200_000)), "1 by 300,000 pixels"),
    "a bomb": (png(60_000, 60_000), "more than 134,217,728 pixels: make it smaller"),
    "a larger bomb": (png(2**31 - 1, 2**31 - 1), "more than 134,217,728 pixels"),
    "too large": (png(14_000, 14_000), "more than 134,217,728 pixels"),
    "a gif that says more": (b"GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x00;", ""),
    "a bmp that says more": (encoded("BMP")[:18] + struct.pack("<ii", 2**30, 2**30) + encoded("BMP")[26:], "more than"),
    "a huge file": (lambda path: sparse(path, JPEG[:4], 2**33), "the file has 8,589,934,592 bytes, expected at most"),
    "a folder": (lambda path: path.mkdir(), "not a regular file"),
    "a pipe": (lambda path: os.mkfifo(path), "not a regular file"),
    "a link to nothing": (lambda path: path.symlink_to(path.with_name("nothing")), "no such file"),
    "a link to itself": (lambda path: path.symlink_to(path), "symbolic links"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a link to the memory": (lambda path: path.symlink_to("/dev/null"), "not a regular file"),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are POSIX's")
@pytest.mark.parametrize("name", IMAGES)
def test_images(name, tmp_path):
    content, expected = IMAGES[name]
    path = tmp_path / "x.jpg"
    content(path) if callable(content) else path.write_bytes(content)
    found = decode(path, 0, lambda picture: np.asarray(picture))
    assert isinstance(found, Unreadable) and expected in found.reason and found.reason.count("\n") == 0


# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    """A copy of the embedded checkpoint, to be damaged."""
    return shutil.copytree(EMBEDDED, tmp_path / "clip")


def setting(name, value, file="config.json"):
    """Sets a value, "part.name" within a part."""

    def change(folder):
        content = json.loads((folder / file).read_text())
        *parts, last = name.split(".")
        place = content
        for part in parts:
            place = place[part]
        place[last] = value
        (folder / file).write_text(json.dumps(content))

    return change


def scaling(name, value):
    return setting(name, value, "preprocessor_config.json")


def processor(change):
    """The scaling as transformers 5 saves it."""

    def do(folder):
        old = folder / "preprocessor_config.json"
        content = {"image_processor": change(json.loads(old.read_text())), "processor_class": "CLIPProcessor"}
        (folder / "processor_config.json").write_text(json.dumps(content))
        old.unlink()

    return do


def text(file, content):
    return lambda folder: (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def lines(file, keep):
    return lambda folder: (folder / file).write_text("\n".join(keep((folder / file).read_text().split("\n"))))


def array(name, value):
    def change(folder):
        arrays = load_file(folder / "model.safetensors")
        arrays[name] = value(arrays[name]) if callable(value) else value
        save_file(arrays, folder / "model.safetensors")

    return change


def header(change):
    """Changes the header of the weights, nothing else."""

    def do(folder):
        path = folder / "model.safetensors"
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        found = json.dumps(change(json.loads(content[8 : 8 + size]))).encode()
        path.write_bytes(len(found).to_bytes(8, "little") + found + content[8 + size :])

    return do


def huge(found):
    found["logit_scale"] |= {"shape": [2**40], "data_offsets": [0, 2**42]}
    return found


def renamed(rename):
    return header(lambda found: {n if n == "__metadata__" else rename(n): value for n, value in found.items()})


def called(weights, config="config.json"):
    """The files under other names."""

    def change(folder):
        (folder / "model.safetensors").rename(folder / weights)
        (folder / "config.json").rename(folder / config)

    return change


def marked(folder):
    """Every small file with a byte order mark."""
    for path in [path for path in folder.iterdir() if path.suffix in (".json", ".txt")]:
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())


def below(place):
    """The checkpoint in a subfolder of the one that is given."""

    def change(folder):
        (folder / place).mkdir(parents=True)
        for path in [path for path in folder.iterdir() if path.is_file()]:
            path.rename(folder / place / path.name)

    return change


def sharded(index):
    def change(folder):
        (folder / "model.safetensors").unlink()
        text("model.safetensors.index.json", json.dumps(index))(folder)

    return change


def pipe(file):
    def change(folder):
        (folder / file).unlink()
        os.mkfifo(folder / file)

    return change


def flipped(values):
    values = values.copy()
    values.flat[3] = np.nan
    return values


DEEP = b"[" * 100_000
CHECKPOINTS = {
    "configuration: a list": (text("config.json", "[]"), "expected an object"),
    "configuration: a text": (text("config.json", '"clip"'), "expected an object"),
    "configuration: nothing": (text("config.json", ""), "is not JSON"),
    "configuration: cut": (lines("config.json", lambda all: all[:9]), "is not JSON"),
    "configuration: no UTF-8": (text("config.json", b'{"a": "\xff\xfe"}'), "is not JSON"),
    "configuration: deep": (text("config.json", DEEP), "is not JSON"),
    "configuration: a long number": (text("config.json", "1" * 5000), "is not JSON"),
    "configuration: a pipe": (pipe("config.json"), "not a regular file"),
    "no heads": (setting("text_config.num_attention_heads", 0), "num_attention_heads 0 (expected a whole number of 1"),
    "seven heads": (setting("vision_config.num_attention_heads", 7), "7"),
    "width in words": (setting("text_config.hidden_size", "128"), "text_config"),
    "width of a fraction": (setting("text_config.hidden_size", 127.5), "hidden_size"),
    "no width": (setting("vision_config.hidden_size", None), "hidden_size"),
    "width of truth": (setting("vision_config.hidden_size", True), "hidden_size"),
    "negative width": (setting("vision_config.hidden_size", -128), "hidden_size -128"),
    "wide": (setting("vision_config.hidden_size", 10**12), "hidden_size 1000000000000 (expected"),
    "wider than the weights": (setting("text_config.hidden_size", 65536), "do not fit its config.json"),
    "a million layers": (setting("text_config.num_hidden_layers", 10**6), "num_hidden_layers 1000000 (expected"),
    "a thousand layers": (setting("text_config.num_hidden_layers", 1000), "arrays are too few for 1004 layers"),
    "no layers": (setting("vision_config.num_hidden_layers", 0), "num_hidden_layers 0"),
    "patch 0": (setting("vision_config.patch_size", 0), "patch_size 0"),
    "patch above the image": (setting("vision_config.patch_size", 65), "patch_size 65 for image_size 64"),
    "another patch": (setting("vision_config.patch_size", 16), "misshapen"),
    "a large image": (setting("vision_config.image_size", 10**5), "image_size 100000 (expected"),
    "another image": (setting("vision_config.image_size", 72), "preprocessor_config.json"),
    "vocabulary of a billion": (setting("text_config.vocab_size", 10**9), "vocab_size 1000000000 (expected"),
    "small vocabulary": (setting("text_config.vocab_size", 600), "config.json says 600"),
    "large vocabulary": (setting("text_config.vocab_size", 2000), "misshapen"),
    "short context": (setting("text_config.max_position_embeddings", 0), "max_position_embeddings 0"),
    "wide MLP": (setting("text_config.intermediate_size", 2**18), "misshapen"),
    "a list for a tower": (setting("text_config", []), "text_config in"),
    "a text for a tower": (setting("vision_config", "large"), "expected an object"),
    "no towers": (setting("text_config", None), "config.json says 49407"),
    "many labels": (setting("text_config.num_labels", 10**9), None),
    "an epsilon of words": (setting("text_config.layer_norm_eps", "small"), "layer_norm_eps"),
    "no epsilon": (setting("text_config.layer_norm_eps", 0.0), "layer_norm_eps 0.0"),
    "another activation": (setting("text_config.hidden_act", "relu"), "hidden_act 'relu'"),
    "a list for an activation": (setting("text_config.hidden_act", ["gelu"]), "hidden_act"),
    "another end": (setting("text_config.eos_token_id", 5), "config.json says 5"),
    "an end of words": (setting("text_config.eos_token_id", "end"), "eos_token_id"),
    "one channel": (setting("vision_config.num_channels", 1), "num_channels 1"),
    "projection 0": (setting("projection_dim", 0), "projection_dim 0"),
    "another kind": (setting("model_type", ["clip"]), "expected one of clip"),
    "scaling: a list": (text("preprocessor_config.json", "[]"), "expected an object"),
    "scaling: not JSON": (text("preprocessor_config.json", "{"), "is not JSON"),
    "scaling: nothing": (text("preprocessor_config.json", "{}"), "expected 1 to 128"),
    "scaling: large": (scaling("size", {"shortest_edge": 100_000}), "scales images to 100000"),
    "scaling: large as number": (scaling("size", 100_000), "100000"),
    "scaling: in words": (scaling("size", "large"), "preprocessor_config.json"),
    "scaling: zero": (scaling("size", {"shortest_edge": 0}), "scales images to 0"),
    "scaling: fraction": (scaling("size", {"shortest_edge": 64.5}), "preprocessor_config.json"),
    "scaling: small crop": (scaling("crop_size", {"height": 32, "width": 32}), "config.json says (3, 64, 64)"),
    "scaling: large crop": (scaling("crop_size", {"height": 10**6, "width": 64}), "1000000"),
    "scaling: mean of one": (scaling("image_mean", [0.5]), "preprocessor_config.json"),
    "scaling: mean of words": (scaling("image_mean", ["a", "b", "c"]), "preprocessor_config.json"),
    "scaling: mean not finite": (scaling("image_mean", [float("nan")] * 3), "NaN or infinite"),
    "scaling: deviation 0": (scaling("image_std", [0, 0, 0]), "NaN or infinite"),
    "scaling: factor in words": (scaling("rescale_factor", "1/255"), "preprocessor_config.json"),
    "scaling: another resampling": (scaling("resample", 99), "preprocessor_config.json"),
    "scaling: padding": (scaling("do_pad", True), "preprocessor_config.json"),
    "scaling: with the processor": (processor(lambda settings: settings), None),
    "scaling: with the processor, large": (
        processor(lambda settings: settings | {"size": {"shortest_edge": 100_000}}),
        "processor_config.json cannot be read (it scales images to 100000",
    ),
    "scaling: with the processor, a list": (processor(lambda settings: [settings]), "expected an object"),
    "scaling: of a processor alone": (processor(lambda settings: None), "has no preprocessor_config.json (or"),
    "a model of sentence-transformers": (below("0_CLIPModel"), "give the subfolder that has one: "),
    "a folder of the hub's cache": (below("snapshots/0a1b2c"), "/snapshots/0a1b2c"),
    "the hub's cache": (below("models--a--b/snapshots/0a1b2c"), "/models--a--b/snapshots/0a1b2c"),
    "the hub's folder": (below("hub/models--a--b/snapshots/0a1b2c"), "/hub/models--a--b/snapshots/0a1b2c"),
    "three folders below": (below("a/b/c"), "give the subfolder that has one: "),
    "marks of Windows": (marked, None),
    "a mark before nothing": (text("vocab.json", b"\xef\xbb\xbf{}"), "the tokenizer in"),
    "a large side file": (lambda folder: sparse(folder / "special_tokens_map.json", b"{", 2**25), "at most"),
    "a template of gigabytes": (lambda folder: sparse(folder / "chat_template.jinja", b"{", 2**33), "at most"),
    "vocabulary: a list": (text("vocab.json", "[]"), "expected an object"),
    "vocabulary: empty": (text("vocab.json", "{}"), "the tokenizer in"),
    "vocabulary: words for ids": (text("vocab.json", '{"a": "b"}'), "the tokenizer in"),
    "vocabulary: two tokens": (text("vocab.json", '{"<|startoftext|>": 0, "<|endoftext|>": 1}'), "the tokenizer in"),
    "vocabulary: a pipe": (pipe("vocab.json"), "not a regular file"),
    "merges: half": (lines("merges.txt", lambda all: all[: len(all) // 2]), "no merge produces"),
    "merges: none": (text("merges.txt", "#version: 0.2\n"), "no merge produces"),
    "merges: the last lost": (lines("merges.txt", lambda all: all[:-2]), "no merge produces 1 of 1,101"),
    "merges: no pairs": (text("merges.txt", "#version: 0.2\nabc\ndef\n"), "the tokenizer in"),
    "merges: of others": (text("merges.txt", "#version: 0.2\nzz qq\n"), "the tokenizer in"),
    "merges: no UTF-8": (text("merges.txt", b"#version: 0.2\n\xff\xfe \xfd\n"), "the tokenizer in"),
    "tokenizer settings: a list": (text("tokenizer_config.json", "[]"), "expected an object"),
    "tokenizer.json of nothing": (text("tokenizer.json", "{}"), "the tokenizer in"),
    "known words: an object": (text("words.json", "{}"), "expected a list"),
    "weights: empty": (text("model.safetensors", ""), "is not a complete safetensors file"),
    "weights: text": (text("model.safetensors", "version https://git-lfs.github.com/spec/v1\n"), "is not a complete"),
    "weights: a long header": (text("model.safetensors", b"\xff" * 7 + b"\x7f" + bytes(99)), "is not a complete"),
    "weights: more than there is": (header(huge), "is not a complete safetensors file"),
    "weights: no offsets": (header(lambda found: {"a": {"dtype": "F32", "shape": [2]}}), "is not a complete"),
    "weights: other names": (renamed(lambda name: f"{name}_x"), "do not fit"),
    "weights: a prefix": (renamed(lambda name: f"module.{name}"), None),
    "weights: two prefixes": (renamed(lambda name: f"module.clip.{name}"), None),
    "weights: a prefix of some": (
        renamed(lambda name: name if "vision" in name else f"model.{name}"),
        "have the prefix 'model.': save the CLIP alone",
    ),
    "weights: a prefix beside others": (
        renamed(lambda name: "head.bias" if name == "text_projection.weight" else f"clip.{name}"),
        "have the prefix 'clip.'",
    ),
    "weights: a prefix of the towers": (
        renamed(lambda name: f"model.{name}" if "_model." in name else name),
        None,
    ),
    "weights: a prefix of the towers beside others": (
        renamed(lambda name: "head" if name == "logit_scale" else f"model.{name}" if "_model." in name else name),
        "have the prefix 'model.'",
    ),
    "weights: a prefix of one tower": (
        renamed(lambda name: f"model.{name}" if "text_model." in name else name),
        "have the prefix 'model.'",
    ),
    "weights: half precision": (called("model.fp16.safetensors"), "found model.fp16.safetensors"),
    "weights: of an adapter": (called("adapter_model.safetensors", "adapter_config.json"), "found adapter_model"),
    "weights: of another program": (called("open_clip_model.safetensors", "other.json"), "found open_clip_model"),
    "weights: another layout": (called("open_clip_model.safetensors", "open_clip_config.json"), "model_cfg in"),
    "weights: pickled": (called("open_clip_pytorch_model.bin"), "only pickled weights (open_clip_pytorch_model.bin)"),
    "weights: pickled, without a configuration": (called("model.pt", "params.json"), "found model.pt"),
    "weights: several prefixes": (
        renamed(lambda name: f"{'a' if name.startswith('text') else 'b'}.{name}"),
        "have the prefix 'a.'",
    ),
    "weights: a scale of one number": (array("logit_scale", lambda found: found.reshape(1)), None),
    "weights: a scale of two numbers": (array("logit_scale", lambda found: np.stack([found, found])), "misshapen"),
    "weights: no scale": (array("logit_scale", lambda found: found.reshape(1)[:0]), "misshapen"),
    "weights: a pipe": (pipe("model.safetensors"), "not a regular file"),
    "weights: NaN": (array("text_projection.weight", flipped), "NaN or infinite"),
    "weights: infinite": (array("logit_scale", np.array(np.inf, np.float32)), "  logit_scale"),
    "weights: whole numbers": (array("text_projection.weight", lambda found: found.astype(np.int32)), "stored as I32"),
    "weights: transposed": (
        array("visual_projection.weight", lambda found: found[:, :5].copy()),
        "expected (128, 128)",
    ),
    "index: a list": (sharded([]), "expected an object"),
    "index: no map": (sharded({}), "no weight_map"),
    "index: an empty map": (sharded({"weight_map": {}}), "no weight_map"),
    "index: a map of numbers": (sharded({"weight_map": {"a": 1}}), "no weight_map"),
    "index: files elsewhere": (sharded({"weight_map": {"a": "../../etc/passwd"}}), "missing shards: passwd"),
}


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints(name, checkpoint):
    change, expected = CHECKPOINTS[name]
    change(checkpoint)
    if expected is None:
        mm.load_clip(checkpoint)
        return
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        mm.load_clip(checkpoint)
    said = str(raised.value)
    assert expected in said and len(said) < 5000
    assert str(checkpoint) in said or "this CLIP cannot be run" in said


# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fruit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "fruit"
    write_scenes(folder, "fruit", seed=5, count=12)
    return folder


NAMES = [f"fruit_{i:04}.png" for i in range(12)]


def table(names, separator=",", head="image,color"):
    return "\n".join([head.replace(",", separator), *(f"{name}{separator}red" for name in names)])


# What truth.csv holds, and what is said.
LABELS = {
    "nothing": ("", "has the columns (none)"),
    "a header alone": ("image,color\n", "found no row"),
    "a header alone, other": ("file,kind\n", "has the columns file, kind; expected the column image and at least one"),
    "no header": (table(NAMES, head="fruit_0000.png,red"), "has the columns fruit_0000.png, red"),
    "no aspect": (table(NAMES, head="image,species"), "expected the column image and at least one of color"),
    "an image twice": (table([*NAMES, NAMES[0]]), "has the image fruit_0000.png twice, in lines 2 and 14"),
    "too many columns": ("image,color" + "," * 10_000, "has 10,002 columns, expected at most 10,000"),
    "a column twice": ("image,color,color\na,b,c", "has the column color 2 times"),
    "image twice as column": ("image,color,image\na,b,c", "has the column image 2 times"),
    "no values": ("image,color\n" + "\n".join(f"{name}," for name in NAMES), "is empty for all images"),
    "no columns after": ("image,color\n" + "\n".join(NAMES), "is empty for all images"),
    "no UTF-8": (table(NAMES).encode() + b"\n\xff\xfe,red", "is not a csv file in UTF-8"),
    "UTF-16": (table(NAMES).encode("utf-16"), "is not a csv file in UTF-8"),
    "a picture": (encoded("PNG"), "is not a csv file in UTF-8"),
    "a spreadsheet": (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00\xff\xfe", "is not a csv file in UTF-8"),
    "an endless line": (b"image,color\n" + b"a,b " * 2**19, "a line of 1,048,576 characters or more"),
    "an endless field": ("image,color\n" + "a" * 200_000 + ",b", "is not a csv file in UTF-8 (field larger"),
    "a folder before": (table(f"images/{name}" for name in NAMES), "without their first folder 12 of its 12 names"),
    "a point before": (table(f"./{name}" for name in NAMES), "without ./ in front 12 of its 12"),
    "the whole path": (table("{images}/" + name for name in NAMES), "relative to {images} 12 of its 12"),
    "another whole path": (
        table("/home/me/" + name for name in NAMES),
        "as file names only 12 of its 12",
    ),
    "no ending": (table(name[:-4] for name in NAMES), "with their file extension 12 of its 12"),
    "capitals": (table(map(str.upper, NAMES)), "in upper or lower case like the files 12 of its 12"),
    "other images": (table(["a.png", "b.png"]), "such as fruit_0000.png, found a.png"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels(name, fruit, tmp_path):
    content, expected = LABELS[name]
    content = content if isinstance(content, bytes) else content.replace("{images}", str(fruit)).encode()
    (tmp_path / "truth.csv").write_bytes(content)
    with pytest.raises(ValueError) as raised:
        read_labels(tmp_path / "truth.csv", ["color"], NAMES, fruit)
    said = str(raised.value)
    assert expected.replace("{images}", str(fruit)) in said and "\n" not in said and str(tmp_path) in said


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_as_spreadsheets_write_them(fruit, tmp_path, separator, encoding):
    (tmp_path / "truth.csv").write_text(table(NAMES, separator).replace("\n", "\r\n"), encoding, newline="")
    assert read_labels(tmp_path / "truth.csv", ["color"], NAMES, fruit) == {"color": dict.fromkeys(NAMES, "red")}


SHEETS = {
    "Excel's first line": table(NAMES, ";", "sep=;\nimage,color"),
    "comments": table(NAMES, head="# by me, today\n\n# more\nimage,color"),
    "blanks behind names": table([f"{name} " for name in NAMES]),
    "tabs": table(NAMES, "\t", "image,color"),
    "capitals": table(NAMES, head="image,Color"),
    "capitals of both": table(NAMES, head="image,COLOR").replace("image", "Image", 1),
}


@pytest.mark.parametrize("name", SHEETS)
def test_labels_as_people_write_them(name, fruit, tmp_path):
    path = tmp_path / ("truth.tsv" if name == "tabs" else "truth.csv")
    path.write_text(SHEETS[name])
    assert read_labels(path, ["color"], NAMES, fruit) == {"color": dict.fromkeys(NAMES, "red")}
    before = SHEETS[name].lower().partition("image")[0].count("\n")
    path.write_text(SHEETS[name].replace(NAMES[4], NAMES[3]))
    with pytest.raises(ValueError, match=f"in lines {before + 5} and {before + 6}"):
        read_labels(path, ["color"], NAMES, fruit)


def test_a_column_in_another_spelling_serves_where_it_is_the_only_one(tmp_path):
    def read(head, aspects):
        (tmp_path / "truth.csv").write_text(f"{head}\na.png,x,y\n")
        return read_labels(tmp_path / "truth.csv", aspects, {"a.png": 0}, tmp_path)

    assert read("image,Color,color", ["color"]) == {"color": {"a.png": "y"}}
    assert read("image,Color,color", ["color", "Color"]) == {"Color": {"a.png": "x"}, "color": {"a.png": "y"}}
    assert read("image,Color,shape", ["color", "Color"]) == {"Color": {"a.png": "x"}}
    with pytest.raises(ValueError, match="expected the column image and at least one of color"):
        read("image,Color,COLOR", ["color"])


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
def test_a_pipe_for_labels(tmp_path):
    os.mkfifo(tmp_path / "truth.csv")
    with pytest.raises(ValueError, match="is not a regular file"):
        read_labels(tmp_path / "truth.csv", ["color"], NAMES, tmp_path)


# ---------------------------------------------------------------------------------------------------------------------

WORDS = ["--words=color=red,green,yellow"]
FLAGS = {
    "an infinite number": ([*WORDS, "--learning_rate=inf"], "learning_rate is inf, expected a number of 0 or more"),
    "no number": ([*WORDS, "--learning_rate=nan"], "learning_rate is nan, expected a number of 0 or more"),
    "a word for a number": ([*WORDS, "--learning_rate=fast"], "--learning_rate=fast"),
    "a negative number": ([*WORDS, "--concept_weight=-1"], "concept_weight is -1.0, expected a number of 0"),
    "an infinite tolerance": ([*WORDS, "--tolerance=1e999"], "tolerance is inf"),
    "endless steps": ([*WORDS, "--steps=99999999999"], "steps is 99999999999, expected a whole number from 0 to"),
    "a fraction of a step": ([*WORDS, "--steps=1.5"], "--steps=1.5"),
    "a negative seed": (
        [*WORDS, "--seed=-1"],
        "random_state is -1, expected a whole number from 0 to 4,294,967,295 (see --seed)",
    ),
    "a large seed": ([*WORDS, "--seed=4294967296"], "random_state is 4294967296"),
    "a large block": ([*WORDS, "--block_size=1000000"], "block_size is 1,000,000, expected at most 128 for 12 images"),
    "no block": ([*WORDS, "--block_size=0"], "block_size is 0"),
    "more groups than images": (["--clusters=color=13"], "13 groups requested for 12 images"),
    "a long number of groups": (["--clusters=color=" + "9" * 5000], "expected a whole number of 1 or more"),
    "groups of nothing": (["--clusters=color=-3"], "expected a whole number of 1 or more"),
    "a reserved aspect": (
        ["--aspect=image", "--clusters=image=2", *WORDS],
        "cannot be called 'image', which is a column of the results",
    ),
    "an aspect like a column": (
        ["--aspect=color: group", "--clusters=color: group=2", *WORDS],
        "cannot be called 'color: group', which is a column of the results",
    ),
    "an aspect of blanks": (["--aspect= ", "--clusters= =2", *WORDS], "needs a name"),
    "an aspect that steers": (["--aspect=a\x1b[31m", "--clusters=a\x1b[31m=2", *WORDS], "without control characters"),
    "an aspect of two lines": (["--aspect=a\nb", "--clusters=a\nb=2", *WORDS], "without control characters"),
    "a word that steers": (["--words=color=red,\x1b]0;title\x07"], "without control characters"),
    "a word that is no text": (["--words=color=red,gr\udcfcn"], "expected UTF-8 text"),
    "an empty word": (["--words=color=red,,green"], "word 2 of aspect 'color' is empty"),
    "a word twice": (["--words=color=red, RED "], "repeated words: red"),
    "a subject that is no text": ([*WORDS, "--subject=\udcff"], "expected UTF-8 text"),
    "a template that cannot be read": ([*WORDS, "--template={word"], "cannot be read"),
    "a template with an index": ([*WORDS, "--template={word[0]}"], "known: {subject}, {name}, {word}"),
    "a template with two slots": ([*WORDS, "--template={word} {word}"], "has {word} 2 times"),
    "a long template": ([*WORDS, "--template={word}" + " long" * 99], "the context holds 77"),
    "no contrast": ([*WORDS, "--contrast=\udcff"], "expected UTF-8 text"),
    "no checkpoint": ([*WORDS, "--clip=\x1b[31m/no/such"], "there is no directory \\x1b[31m/no/such"),
    "a missing value": (["--words=color"], "expected an aspect and words, such as --words=color=red,green"),
    "an unknown flag": (["--colour=red"], "unknown flag --colour"),
    "a flag like a number": (["--clusters=3"], "a number of groups, such as --clusters=color=3"),
    "a file of flags": ([*WORDS, "--flagfile=/dev/zero"], "--flagfile is not supported"),
    "a template that formats": ([*WORDS, "--template={word:>99999999}"], "has a format or conversion for {word}"),
    "a flag that contradicts itself": ([*WORDS, "--seed=1", "--seed=2"], "--seed=1 and --seed=2 contradict each other"),
    "a lone process": ([*WORDS, "--processes=2"], "must be given together"),
    "no labels": ([*WORDS, "--labels=/dev/null"], "is not a regular file"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags(name, fruit, tmp_path, capsys, monkeypatch):
    flags, expected = FLAGS[name]
    monkeypatch.setattr(Clip, "embed_readable", lambda *_, **__: pytest.fail("found after images were embedded"))
    given = ["--aspect=color", f"--images={fruit}", f"--out={tmp_path / 'out'}"]
    given += ["--subject=fruit"] * (not any(flag.startswith("--subject=") for flag in flags))
    assert cli.main(["multimap", *given, *flags]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.startswith("multimap: ") and error.count("\n") == 1 and "\x1b" not in error


# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(fruit, tmp_path_factory):
    """A finished run with a model and kept proxies."""
    out = tmp_path_factory.mktemp("finished") / "out"
    assert run(fruit, out) == 0
    return out


def run(fruit, out, *more):
    flags = ["--subject=fruit", "--aspect=color", *WORDS, "--keep_proxies", "--steps=3", "--noprogress", *more]
    return cli.main(["multimap", f"--images={fruit}", f"--out={out}", *flags])


def model_of(out):
    return next((out / "models").iterdir())


def edited(name, value):
    def change(folder):
        content = json.loads((folder / "model.json").read_text())
        content[name] = value
        (folder / "model.json").write_text(json.dumps(content))

    return change


def stored(**others):
    def change(folder):
        with np.load(folder / "arrays.npz") as arrays:
            found = dict(arrays)
        found |= {name: value(found[name]) for name, value in others.items()}
        np.savez(folder / "arrays.npz", **found)

    return change


def without_proxies(folder):
    content = json.loads((folder / "model.json").read_text()) | {"features": "proxy"}
    content.pop("block_size")
    (folder / "model.json").write_text(json.dumps(content))


def another_width(folder):
    edited("n_features_in", 127)(folder)
    cut = {name: lambda found: found[:127] for name in ("projection_", "inliers_centre", "inliers_axes")}
    stored(**cut)(folder)


def compressed(folder):
    with np.load(folder / "arrays.npz") as arrays:
        found = dict(arrays)
    np.savez_compressed(folder / "arrays.npz", **found | {"labels_": np.zeros(10**7, np.int64)})


def one_array():
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def dangling(folder):
    (folder / "arrays.npz").unlink()
    (folder / "arrays.npz").symlink_to("/dev/zero")


MODELS = {
    "settings: a list": (text("model.json", "[]"), "Expected `object`, got `array`"),
    "settings: deep": (text("model.json", DEEP), "is not JSON"),
    "settings: of another version": (edited("format", 99), "has model format 99, expected 5"),
    "settings: format of words": (edited("format", ["3"]), "has model format"),
    "settings: no aspect": (edited("aspect", None), "is damaged"),
    "settings: an aspect of numbers": (edited("aspect", {"name": 3}), "is damaged"),
    "settings: words of numbers": (edited("aspect", {"name": "color", "words": [1, 2]}), "is damaged"),
    "settings: a recipe of words": (
        edited("config", {"steps": "many"}),
        "Expected `int`, got `str` - at `$.config.steps`",
    ),
    "settings: an infinite rate": (edited("config", {"learning_rate": float("inf")}), "is not JSON"),
    "settings: no checkpoint": (edited("clip", {}), "is damaged"),
    "settings: names of numbers": (
        edited("cluster_names", [1, 2, 3]),
        "Expected `str`, got `int` - at `$.cluster_names[0]`",
    ),
    "settings: no names": (edited("cluster_names", []), "of length >= 1 - at `$.cluster_names`"),
    "settings: few confidences": (edited("cluster_confidences", [0.5]), "cluster_confidences has 1, expected 3"),
    "settings: confidence NaN": (edited("cluster_confidences", [float("nan")] * 3), "is not JSON"),
    "settings: width of words": (edited("n_features_in", "128"), "Expected `int`, got `str` - at `$.n_features_in`"),
    "settings: a negative seed": (edited("settings", {"random_state": -1}), "random_state is -1"),
    "settings: a large seed": (edited("settings", {"random_state": 2**70}), "random_state is"),
    "settings: features of words": (edited("settings", {"features": "nonsense"}), "nonsense"),
    "settings: features used": (edited("features", ["span"]), "got `array` - at `$.features`"),
    "settings: proxies that are not there": (without_proxies, "its features need proxies, and it has none"),
    "settings: contrast of letters": (edited("contrast", "abc"), "Expected `array`, got `str` - at `$.contrast`"),
    "settings: groups of words": (edited("n_clusters", "three"), "at `$.n_clusters`"),
    "settings: nested confidences": (
        edited("cluster_confidences", [[0.5]] * 3),
        "got `array` - at `$.cluster_confidences[0]`",
    ),
    "settings: another width": (another_width, "its embeddings have 127 dimensions, those of embedded 128"),
    "centroids: no columns": (stored(cluster_centers_=lambda found: found[:, :0]), "cluster_centers_ is empty"),
    "centroids: one column": (
        stored(cluster_centers_=lambda found: found[:, :1]),
        "its centroids have 1 dimensions, its features",
    ),
    "arrays: nothing": (text("arrays.npz", ""), "is damaged"),
    "arrays: one": (text("arrays.npz", one_array()), "File is not a zip file"),
    "arrays: cut": (lambda folder: os.truncate(folder / "arrays.npz", 900), "is damaged"),
    "arrays: compressed": (compressed, "compressed, expected uncompressed arrays"),
    "arrays: a device": (dangling, "is not a regular file"),
    "arrays: objects": (stored(labels_=lambda found: found.astype(object)), "is damaged"),
    "labels: out of range": (stored(labels_=lambda found: found + 3), "expected whole numbers from 0 to 2"),
    "labels: negative": (stored(labels_=lambda found: found - 1), "expected whole numbers from 0 to 2"),
    "labels: fractions": (stored(labels_=lambda found: found * 1.0), "expected whole numbers from 0 to 2"),
    "centroids: NaN": (stored(cluster_centers_=lambda found: found * np.nan), "values that are not finite numbers"),
    "centroids: few": (stored(cluster_centers_=lambda found: found[:2]), "expected [3, any]"),
    "distances: infinite": (stored(distances_=lambda found: found + np.inf), "values that are not finite numbers"),
    "projection: words": (stored(projection_=lambda found: found.astype(str)), "values that are not finite numbers"),
    "proxies: few": (stored(proxies_=lambda found: found[:5]), "proxies_ has shape [5, 128], expected [12, any]"),
    "proxies: NaN": (stored(proxies_=lambda found: found * np.nan), "values that are not finite numbers"),
}


@pytest.mark.skipif(os.name != "posix", reason="devices are POSIX's")
@pytest.mark.parametrize("name", MODELS)
def test_models(name, finished, tmp_path):
    change, expected = MODELS[name]
    folder = shutil.copytree(model_of(finished), tmp_path / "model")
    change(folder)
    with pytest.raises(ValueError) as raised:
        mm.load(folder)
    assert expected in str(raised.value) and "\n" not in str(raised.value) and str(folder) in str(raised.value)


def first(pattern):
    return lambda out: sorted(out.glob(pattern))[0]


PIECE, KEPT = first("embeddings/img_emb/*.npy"), first("embeddings/metadata/*.parquet")
PLAN, PROXIES = first("plan/*.parquet"), first("proxies/*/*.npz")


def replaced(path, content):
    return lambda out: path(out).write_bytes(content)


def cut(path):
    return lambda out: os.truncate(path(out), path(out).stat().st_size // 2)


def rewritten(path, change):
    return lambda out: np.save(path(out), change(np.load(path(out))))


def fits(**changes):
    def change(out):
        with np.load(PROXIES(out)) as arrays:
            found = dict(arrays)
        np.savez(PROXIES(out), **found | {name: value(found[name]) for name, value in changes.items()})

    return change


def copied(out):
    shutil.copy(PROXIES(out), PROXIES(out).with_name("proxies_000000 (1).npz"))
    shutil.copy(PIECE(out), PIECE(out).with_name("img_emb_7.npy"))


# What is done to the folder --out between two runs; the second gives the same labels.
STORES = {
    "embeddings: empty": replaced(PIECE, b""),
    "embeddings: cut": cut(PIECE),
    "embeddings: NaN": rewritten(PIECE, lambda found: found * np.nan),
    "embeddings: zeros": rewritten(PIECE, lambda found: found * 0),
    "embeddings: few": rewritten(PIECE, lambda found: found[:3]),
    "embeddings: of another width": rewritten(PIECE, lambda found: found[:, :9]),
    "embeddings: doubles": rewritten(PIECE, lambda found: found.astype(np.float64)),
    "embeddings: pickled": lambda out: np.save(PIECE(out), np.array([{}]), allow_pickle=True),
    "metadata: gone": lambda out: KEPT(out).unlink(),
    "metadata: cut": cut(KEPT),
    "metadata: text": replaced(KEPT, b"PAR1 and so on PAR1"),
    "skipped: gone": lambda out: first("embeddings/skipped/*.parquet")(out).unlink(),
    "plan: cut": cut(PLAN),
    "plan: gone": lambda out: PLAN(out).unlink(),
    "proxies: cut": cut(PROXIES),
    "proxies: NaN": fits(proxies=lambda found: found * np.nan),
    "proxies: narrow": fits(proxies=lambda found: found[:, :5]),
    "proxies: doubles": fits(prompt_embeddings=lambda found: found.astype(np.float64)),
    "proxies: of one rank": fits(proxies=lambda found: found[:, 0]),
    "proxies: steps of many": fits(image_steps=lambda found: np.ones(3)),
    "copies by others": copied,
    "proxies: their plan": cut(first("proxies/*/*.parquet")),
    "proxies: their key": replaced(first("proxies/*/key.json"), b"[]"),
    "run.json: a list": replaced(first("run.json"), b"[]"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STORES)
def test_stores_are_mended(name, fruit, finished, tmp_path, capsys):
    out = shutil.copytree(finished, tmp_path / "out")
    STORES[name](out)
    if name.startswith("run.json"):  # nobody knows then whose the results are
        assert run(fruit, out) == 2 and "was not written by multimap" in capsys.readouterr().err
        return
    assert run(fruit, out) == 0
    assert (out / "labels.csv").read_bytes() == (finished / "labels.csv").read_bytes()
    said = capsys.readouterr().err
    assert said.count("damaged") <= 1 and said.count("\n") <= 1
    assert run(fruit, out) == 0 and "damaged" not in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["plan: cut", "metadata: cut", "metadata: text", "proxies: their plan"])
def test_fresh_forgets_what_is_damaged(damage, fruit, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "out")
    STORES[damage](out)
    assert run(fruit, out, "--fresh") == 0
    assert (out / "labels.csv").read_bytes() == (finished / "labels.csv").read_bytes()


@pytest.mark.parametrize("damage", ["plan: cut", "metadata: cut", "skipped: gone"])
def test_a_worker_among_others_mends_nothing_and_says_who_does(damage, fruit, finished, tmp_path, capsys):
    out = shutil.copytree(finished, tmp_path / "out")
    STORES[damage](out)
    flags = [f"--images={fruit}", f"--out={out}", "--noprogress"]
    assert cli.main(["multimap", "embed", *flags, "--part=1/2"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(out) in said
    assert cli.main(["multimap", "embed", *flags]) == 0


def test_a_plan_after_damage_loses_nothing(tmp_path):
    plan = ShardPlan(tmp_path, "plan")
    images = [[(f"{i}{j}.png", "1") for j in range(2)] for i in range(4)]
    for part in images[:3]:
        plan.extend([image for other in images[: images.index(part) + 1] for image in other], 2, {})
    first, second, _ = plan.files()
    for file in (first, second):
        file.write_bytes(b"")
    plan.mend({})
    plan.extend(images[2] + images[3], 2, {})
    assert set(plan.read()) == {*images[2], *images[3]} and len(plan.files()) == 3


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"[]", b"{", DEEP])
def test_embeddings_of_an_unknown_encoder_are_a_sentence(content, fruit, finished, tmp_path, capsys):
    out = shutil.copytree(finished, tmp_path / "out")
    (out / "embeddings" / "encoder.json").write_bytes(content)
    assert run(fruit, out) == 2 and "discard the cache (see --fresh)" in capsys.readouterr().err
    assert run(fruit, out, "--fresh") == 0


# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="file names of any bytes are POSIX's")
def test_names_of_any_bytes_survive_everywhere(fruit, tmp_path, capsys):
    images, out = tmp_path / os.fsdecode(b"photos \xff"), tmp_path / os.fsdecode(b"out \xfe\n")
    images.mkdir()
    names = [
        b"\xff.png",
        b"\xfe.png",
        b"a\nb.png",
        b"\x1b[31mred.png",
        b"<b>.png",
        b"back\\slash.png",
        "日.png".encode(),
    ]
    for name, source in zip(names, sorted(fruit.glob("*.png"))):
        shutil.copy(source, images / os.fsdecode(name))
    (images / os.fsdecode(b"\xfdbroken.jpg")).write_bytes(b"")
    assert run(images, out) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err and "\\xfdbroken.jpg: the file is empty" in said.out
    rows = (out / "labels.csv").read_text("utf-8").splitlines()[1:]
    found = {os.fsencode(path_of_name(row.partition(",")[0])) for row in rows}
    assert found == set(names) and len(rows) == len(names)
    assert r"\xff.png" in (out / "report.html").read_text("utf-8")
    assert run(images, out) == 0
    assert cli.main(["multimap", "apply", f"--run={out}", f"--images={images}", f"--out={tmp_path / 'more'}"]) == 0
    assert (tmp_path / "more" / "labels.csv").read_bytes() == (out / "labels.csv").read_bytes()
    mm.load(model_of(out))
    copy = shutil.copytree(EMBEDDED, tmp_path / os.fsdecode(b"clip \xff"))
    assert run(fruit, tmp_path / "other", f"--clip={copy}") == 2  # the library that reads tokenizers takes UTF-8 alone
    assert "rename it" in capsys.readouterr().err


def test_a_text_without_end_is_a_short_sentence():
    with pytest.raises(ValueError, match="the context holds 77: shorten 'xxx") as caught:
        mm.load_clip("embedded").embed_texts(["x" * 100_000])
    assert len(str(caught.value)) < 200
