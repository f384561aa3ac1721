"""`load_clip` and what it gives: frozen towers, tokenizer and preprocessing of one checkpoint."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import fnmatch
import functools
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from multimap_jax.arrays.rows import StoredRows, unit_rows
from multimap_jax.encoders.clip.checkpoint import (
    FLAX,
    INDEX,
    SINGLE,
    checkpoints_below,
    read_arrays,
    said_instead,
    towers_from_arrays,
    weight_files,
)
from multimap_jax.encoders.clip.config import PARTS, TOP, TOWER, CLIPConfig, size_problems
from multimap_jax.encoders.clip.tokenizer import Tokenizer
from multimap_jax.encoders.clip.towers import Towers
from multimap_jax.encoders.clip.transformers_alone import transformers_alone
from multimap_jax.images.decoding import (
    OWN_RANGE,
    Unreadable,
    UnreadableImagesError,
    as_list,
    say_own_range,
    stream_pixels,
)
from multimap_jax.runtime.mesh import image_mesh, pad_rows, split_images
from multimap_jax.runtime.precision import matmul_precision
from multimap_jax.runtime.profiling import chunk_done
from multimap_jax.runtime.progress import open_bar, stage
from multimap_jax.storage.paths import check_regular, local_folder_copy, parse_path, reaching
from multimap_jax.storage.reading import explained, read_json

EMBEDDED = Path(__file__).parent.parent / "embedded"
_SMALL_FILES = [
    "config.json",
    "preprocessor_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "processor_config.json",
]
SAVE_SCALING = "save it with CLIPImageProcessor.save_pretrained"
SHARDS = "model-*.safetensors"
SMALL_BYTES = 2**24
SCALED_PIXELS = 2**24  # of one image, scaled for the encoder
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclasses.dataclass(frozen=True)
class EmbeddedImages:
    """`embeddings` float32 [kept, embed]; `kept` int [kept], indices into the list given; `failures`, the others;
    `own_range`, how many images were scaled by their own range of values."""

    embeddings: np.ndarray
    kept: np.ndarray
    failures: tuple[Unreadable, ...]
    own_range: int = 0


class Clip:
    """A frozen CLIP. `name`: what it was loaded by. `known_words`: what the embedded checkpoint has seen, else None."""

    def __init__(self, name: str, directory: Path, towers: Towers, tokenizer: Tokenizer, preprocess: Callable):
        self.name, self.directory = name, directory
        self.towers, self.tokenizer, self.preprocess = towers, tokenizer, preprocess
        self.config = CLIPConfig(towers.text.config, towers.image.config)
        words = directory / "words.json"
        self.known_words = frozenset(map(str, read_json(words, list))) if words.exists() else None

    def __deepcopy__(self, memo):
        # Frozen and large: scikit-learn's clone and copy.deepcopy share it.
        return self

    def __reduce__(self):
        return load_clip, (self.name,)

    def __repr__(self):
        return f"load_clip({self.name!r})"

    @property
    def embedded(self) -> bool:
        """Whether this is the checkpoint that comes with the package."""
        return self.name == "embedded"

    @property
    def place(self) -> str:
        """What `load_clip` finds this checkpoint by from anywhere on this machine."""
        if self.embedded or not Path(self.name).is_dir() or Path(self.name).resolve() != self.directory.resolve():
            return self.name
        return str(self.directory.resolve())

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of all that embeddings depend on: weights, configuration, tokenizer, preprocessing."""
        weights = hashlib.sha256((self.directory / "config.json").read_bytes())
        for path in weight_files(self.directory):
            with path.open("rb") as file:
                weights.update(hashlib.file_digest(file, "sha256").digest())
        digest = hashlib.sha256(weights.hexdigest().encode())
        for name in _SMALL_FILES[1:]:
            path = self.directory / name
            digest.update(hashlib.sha256(path.read_bytes()).digest() if path.exists() else b"none")
        return digest.hexdigest()

    @property
    def temperature_scale(self) -> float:
        """What similarities are multiplied with before a softmax, as in training."""
        return float(np.exp(self.towers.logit_scale[...]))

    def embed_images(self, images, on_error: str = "raise", normalize: bool = True, progress: bool = False):
        """Image embeddings, float32 [images, embed], unit rows unless `normalize=False`.

        Args:
          images: a folder (recursive, sorted by path), a list of paths, PIL images or uint8 arrays [h, w, 3].
          on_error: "raise", or "skip" to return (embeddings [kept, embed], kept indices int [kept]).
          progress: whether to show a bar with a time estimate on stderr.

        Raises:
          UnreadableImagesError: all unreadable images in one error; with "skip" only where none is left.
        """
        if on_error not in ("raise", "skip"):
            raise ValueError(f'on_error is {on_error!r}, expected "raise" or "skip"')
        images = as_list(images)
        result = self.embed_readable(images, normalize, progress, stop_at_failure=on_error == "raise")
        if result.failures and (on_error == "raise" or not len(result.kept)):
            raise UnreadableImagesError(result.failures, len(images))
        say_own_range(result.own_range)
        return (result.embeddings, result.kept) if on_error == "skip" else result.embeddings

    def embed_readable(
        self,
        images: Sequence,
        normalize: bool = True,
        progress: bool = False,
        stop_at_failure: bool = False,
        bar=None,
    ) -> EmbeddedImages:
        """Embeds what can be decoded. After a failure `stop_at_failure` only decodes on, to find the others.

        bar: a bar over more than these images, to be moved on instead of one of their own.
        """
        mesh = image_mesh()
        block = self.image_block * mesh.size
        kept, failures, embeddings, index, own_range = [], [], [], 0, []

        def preprocess(picture: Image.Image) -> np.ndarray:
            if OWN_RANGE in picture.info:
                own_range.append(picture.size)
            return self.preprocess(picture)

        own = bar is None
        bar = open_bar(len(images), "embedding images", "image", shown=progress) if own else bar
        for batch in stream_pixels(images, preprocess, block):
            pixels = [item for item in batch if not isinstance(item, Unreadable)]
            failures += [item for item in batch if isinstance(item, Unreadable)]
            kept += [index + i for i, item in enumerate(batch) if not isinstance(item, Unreadable)]
            index += len(batch)
            if pixels and not (failures and stop_at_failure):
                # Left on the device: it computes while the next batch is decoded.
                rows = pad_rows(np.stack(pixels), block)
                with matmul_precision("float32"):
                    embeddings.append(_embed_block(self.towers.image, rows, mesh)[: len(pixels)])
                _settle(embeddings)
            bar.update(len(batch))
            chunk_done()
        if own:
            bar.close()
        empty = [np.zeros((0, self.config.image.embed), np.float32)]
        raw = np.concatenate([np.asarray(part) for part in embeddings] or empty)
        rows = unit_rows(raw) if normalize else raw
        return EmbeddedImages(rows, np.array(kept, np.int64), tuple(failures), len(own_range))

    @property
    def image_block(self) -> int:
        """Images in one call of a device. A fixed shape, so that an embedding never depends on its neighbours; no table
        shows that these numbers are the best."""
        return 32 if jax.default_backend() == "cpu" else 256

    def check_embeddings(self, embeddings) -> np.ndarray:
        """`embeddings` as an array [images, embed] of float32 or float64, looked at wherever they come from outside.
        `StoredRows`, which were looked at when they were found, stay what they are.

        Raises ValueError for another shape, no rows, values that are not finite, and rows whose norm is off 1 by more
        than 1e-3 (1e-2 for float16 and bfloat16).
        """
        width = self.config.image.embed
        if isinstance(embeddings, StoredRows) and embeddings.shape[1] == width:
            return embeddings
        rows = np.asarray(embeddings)
        near = 1e-3 if rows.dtype.itemsize > 2 else 1e-2
        if jnp.issubdtype(rows.dtype, np.floating) and rows.dtype != np.float64:
            rows = rows.astype(np.float32, copy=False)
        if rows.dtype.kind not in "fiu" or rows.ndim != 2 or rows.shape[1] != width or not len(rows):
            raise ValueError(
                f"embeddings are {rows.dtype} of shape {list(rows.shape)}, expected numbers of shape "
                f"[images, {width}], 1 image or more"
            )
        norms = np.sqrt(np.einsum("ie,ie->i", rows, rows, dtype=np.float64))
        wrong = np.flatnonzero(~(np.abs(norms - 1) < near))
        if len(wrong):
            raise ValueError(
                f"embeddings must be unit rows, row {wrong[0]} has norm {norms[wrong[0]]:.4g} ({len(wrong)} such "
                "rows): use clip.embed_images, or divide each row by its norm"
            )
        return rows if rows.dtype == np.float64 else rows.astype(np.float32, copy=False)

    def embed_texts(self, texts: Sequence[str], normalize: bool = True) -> np.ndarray:
        """Text embeddings, float32 [texts, embed], unit rows unless `normalize=False`.

        ValueError for a text longer than the context.
        """
        if isinstance(texts, str):
            raise TypeError(f"expected a list of texts, found the single text {texts!r}: put it in a list")
        if not len(texts):
            return np.zeros((0, self.config.text.embed), np.float32)
        ids, parts = self.tokenizer.pad(texts), []
        with matmul_precision("float32"):
            for start in range(0, len(ids), 64):
                rows = ids[start : start + 64]
                block = pad_rows(rows, 64 if len(ids) > 64 else -(-len(rows) // 8) * 8)
                parts.append(np.asarray(_embed_texts(self.towers.text, block))[: len(rows)])
        raw = np.concatenate(parts)
        return unit_rows(raw) if normalize else raw

    def token_embeddings(self, words: Sequence[str]) -> np.ndarray:
        """e(word): the mean of each word's token embeddings, float32 [words, width]."""
        table = self.towers.text.tokens[...]
        rows = [table[jnp.asarray(self.tokenizer.encode(word))].mean(0) for word in words]
        return np.asarray(rows, np.float32).reshape(len(rows), self.config.text.width)


def _settle(parts: list) -> None:
    """Waits for the embeddings before the newest, so that pixels of many batches never queue up on the device."""
    if len(parts) > 1:
        parts[-2] = np.asarray(parts[-2])


@functools.partial(jax.jit, static_argnums=2)
def _embed_block(tower, pixels, mesh):
    return split_images(lambda tower, pixels: jax.vmap(tower)(pixels), mesh, 1)(tower, pixels)


@jax.jit
def _embed_texts(tower, ids):
    return jax.vmap(tower)(ids)


def load_clip(name: str | Path | Clip = "embedded") -> Clip:
    """A frozen CLIP of the ViT kind.

    Args:
      name: "embedded" (small, trained on drawings, comes with the package), a directory in the Hugging Face layout,
        such a directory in a store (s3://…), or a hub id such as "openai/clip-vit-base-patch32". A loaded Clip is
        returned as it is.

    Raises:
      FileNotFoundError: no such directory, or files missing in it.
      ConnectionError: the hub cannot be reached and holds nothing in the local cache.
      ValueError: not a ViT CLIP, pickled weights, or weights that do not fit the configuration (all listed).
    """
    if isinstance(name, Clip):
        return name
    if str(name) == "embedded":
        return _load_directory("embedded", EMBEDDED)
    if "://" in str(name):
        path = parse_path(str(name))
        return _load_directory(f"{path}", _from_store(path))
    if str(name).startswith("~"):
        name = str(parse_path(str(name)))
    if Path(name).is_dir():
        return _load_directory(str(name), Path(name))
    if Path(name).exists():
        raise ValueError(
            f"{name} is a file, expected a folder in the Hugging Face layout: give {Path(name).parent} if it holds "
            "config.json and the tokenizer too"
        )
    if not _HUB_ID.fullmatch(str(name)):
        raise FileNotFoundError(
            f'there is no directory {name}; a CLIP is "embedded", a directory in the Hugging Face layout, '
            'or a hub id such as "openai/clip-vit-base-patch32"'
        )
    return _load_directory(str(name), _fetch(str(name)))


@stage("fetching the checkpoint")
def _fetch(hub_id: str) -> Path:
    """Fetches configuration, tokenizer and one format of weights into the hub's local cache."""
    from huggingface_hub import snapshot_download

    def fetch(patterns):
        return Path(snapshot_download(hub_id, allow_patterns=_SMALL_FILES + patterns))

    try:
        directory = fetch([SINGLE, INDEX, SHARDS])
        return directory if weight_files(directory) else fetch([FLAX])
    except Exception as error:  # the hub's client raises a dozen kinds; each means that the checkpoint did not come
        raise ConnectionError(
            f"{hub_id} is no directory here and could not be fetched from the hub ({type(error).__name__}); "
            "check the id and the network, or give a local directory in the Hugging Face layout"
        ) from error


def _from_store(path) -> Path:
    """The files of a checkpoint in a store, on this machine."""
    names = {*_SMALL_FILES, "words.json", SINGLE, INDEX, FLAX}
    with reaching(path):
        there = [each for each in path.iterdir() if each.name in names or fnmatch.fnmatch(each.name, SHARDS)]
    if not there:
        raise FileNotFoundError(f"there is no checkpoint in {path}: expected files in the Hugging Face layout")
    return local_folder_copy(path, there)


@stage("loading the checkpoint")
def _load_directory(name: str, directory: Path) -> Clip:
    if not str(directory).isprintable():
        raise ValueError(f"{directory} has a name that tokenizers cannot be read from: rename it, with letters alone")
    for file in (*_SMALL_FILES, "chat_template.jinja"):
        if (directory / file).exists():
            check_regular(directory / file, most=SMALL_BYTES)
            if file.endswith(".json"):
                read_json(directory / file)
    config = _read_config(directory)
    arrays = read_arrays(directory)
    with _without_marks(directory) as settings:
        preprocess, tokenizer = _preprocessing(settings, config), Tokenizer(settings, config.text)
    return Clip(name, directory, towers_from_arrays(arrays, config, str(directory)), tokenizer, preprocess)


@contextlib.contextmanager
def _without_marks(directory: Path) -> Iterator[Path]:
    """The folder; where a small file in it begins with a byte order mark, as Windows' editors write it and transformers
    does not read it, a copy of its small files without those."""
    files = {name: directory / name for name in _SMALL_FILES if (directory / name).exists()}
    files = {name: path.read_bytes() for name, path in files.items()}
    if not any(content.startswith(codecs.BOM_UTF8) for content in files.values()):
        yield directory
        return
    with tempfile.TemporaryDirectory() as copy:
        for name, content in files.items():
            (Path(copy) / name).write_bytes(content.removeprefix(codecs.BOM_UTF8))
        try:
            yield Path(copy)
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(str(error).replace(copy, str(directory))) from None


def _read_config(directory: Path) -> CLIPConfig:
    path = directory / "config.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{directory} has no config.json: expected a CLIP in the Hugging Face layout (config.json, {SINGLE}, …)"
            f"{said_instead(directory)}{checkpoints_below(directory)}"
        )
    content = read_json(path)
    if content.get("model_type") != "clip":
        raise ValueError(
            f"{path} describes a model of type {content.get('model_type')!r}, expected 'clip' (a CLIP with ViT image "
            "tower, such as openai/clip-vit-base-patch32); other architectures cannot be run here"
        )
    content = {key: value for key, value in content.items() if key in TOP}
    for key in PARTS:
        part = {} if content.get(key) is None else content[key]
        if not isinstance(part, dict):
            raise ValueError(f"{key} in {path} is {str(part)[:40]}, expected an object: fetch or save it again")
        problems = size_problems(key, part)
        if problems:
            raise ValueError(f"{path} cannot be used: {'; '.join(problems)}")
        # Others ask transformers for things, and some of those for memory without end.
        content |= {key: {name: value for name, value in part.items() if name in TOWER}} if part else {}
    with transformers_alone():
        from transformers.models.clip.configuration_clip import CLIPConfig as TransformersConfig

        with explained(f"{path}", "fetch or save it again"):
            found = TransformersConfig.from_dict(content)
    return CLIPConfig.from_transformers(found)


def _settings_of_images(directory: Path) -> Path:
    """The file that says how images are scaled: processor_config.json where it does, as transformers 5 writes it and
    prefers it, else preprocessor_config.json."""
    path = directory / "processor_config.json"
    settings = read_json(path).get("image_processor") if path.exists() else None
    if settings is not None and not isinstance(settings, dict):
        raise ValueError(f"image_processor in {path} is {str(settings)[:40]}, expected an object: {SAVE_SCALING}")
    if settings is None:
        path = directory / "preprocessor_config.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{directory} has no preprocessor_config.json (or processor_config.json with an image_processor in it), "
            f"which says how its images are scaled; {SAVE_SCALING}"
        )
    return path


def _preprocessing(directory: Path, config: CLIPConfig) -> Callable:
    """PIL RGB image -> float32 [size, size, 3], as the checkpoint's settings say; tried here on a small picture."""
    path, size = _settings_of_images(directory), config.image.size
    with transformers_alone():
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        with explained(f"{path}", SAVE_SCALING):
            processor = CLIPImageProcessorPil.from_pretrained(directory)
            sizes = [*dict(processor.size or {}).values(), *dict(processor.crop_size or {}).values()]
            wrong = [each for each in sizes if each is not None and not (type(each) is int and 0 < each <= 2 * size)]
            if getattr(processor, "do_pad", None):
                raise ValueError("it pads images, as no CLIP of this kind does")
            if wrong:
                raise ValueError(f"it scales images to {wrong[0]!r}, expected 1 to {2 * size} for encoders of {size}")

    def preprocess(image):
        pixels = processor(resized(image, processor), return_tensors="np")["pixel_values"][0]
        if pixels.shape != (3, size, size):
            raise ValueError(f"it makes images of shape {pixels.shape}, config.json says {(3, size, size)}")
        return np.ascontiguousarray(pixels.transpose(1, 2, 0), np.float32)

    with explained(f"{path}", SAVE_SCALING):
        with np.errstate(all="ignore"):
            tried = preprocess(Image.new("RGB", (5, 3), "white"))
        if not np.isfinite(tried).all():
            raise ValueError("it makes images of NaN or infinite numbers")
    return preprocess


def resized(image: Image.Image, processor) -> Image.Image:
    """`image` in the size that the processor will give it, by the same filter: it then leaves it as it is, and copies a
    small picture several times instead of a large one."""
    size = {key: value for key, value in dict(processor.size or {}).items() if value}
    if not processor.do_resize or processor.resample is None:
        return image
    (width, height), edge = image.size, size.get("shortest_edge")
    if set(size) == {"shortest_edge"}:
        wanted = (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)
    elif set(size) == {"height", "width"}:
        wanted = size["width"], size["height"]
    else:
        return image
    if wanted[0] * wanted[1] > SCALED_PIXELS:
        raise ValueError(f"{width:,} by {height:,} pixels are too narrow for this encoder: cut it")
    return image.resize(wanted, processor.resample)
