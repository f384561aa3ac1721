"""The frozen towers, tokenizer and preprocessing of one checkpoint, of whatever family."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.sharding import Mesh
from numpy.typing import ArrayLike
from PIL import Image

from multimap_jax.arrays.rows import StoredRows, unit_rows
from multimap_jax.encoders.clip.config import CLIPConfig
from multimap_jax.encoders.clip.slot import SlotEncoder, compiled_slot_encoder
from multimap_jax.encoders.encoder import EmbeddedImages
from multimap_jax.encoders.operations import image_operations, step_operations
from multimap_jax.encoders.tokenizer import Tokenizer
from multimap_jax.encoders.zero_shot import softmax_probabilities
from multimap_jax.errors import InputError, InputTypeError, found_text, names_arguments
from multimap_jax.images.color import OWN_RANGE, warn_of_own_range
from multimap_jax.images.decoding import (
    Images,
    Preprocess,
    Unreadable,
    UnreadableImagesError,
    as_list,
    stream_pixels,
)
from multimap_jax.runtime.mesh import image_mesh, pad_rows, split_images
from multimap_jax.runtime.precision import compute_dtype, matmul_precision
from multimap_jax.runtime.profiling import chunk_done
from multimap_jax.runtime.progress import Bar, open_bar
from multimap_jax.settings import ImageSettings
from multimap_jax.storage.reading import read_json

EMBEDDED = Path(__file__).parent.parent / "embedded"
# The files besides the weights on which embeddings depend; `Clip.hash` reads them in this order.
SMALL_FILES = [
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
SENTENCEPIECE = "*.model"  # files of other tokenizers
COMMIT = re.compile("[0-9a-f]{40}")
TEXT_BLOCK = 64  # texts in one call of the tower
FAST_SIDES = 2  # least sides of images that decode="fast" decodes, as multiples of the side of the encoder


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a family of checkpoints reads from a folder.

    Attributes:
      towers: `text` (ids [t] -> [embed]), `image` (pixels [size, size, 3] -> [embed]) and `logit_scale`.
      tokenizer: see `encoders.tokenizer.Tokenizer`. preprocess: PIL image, RGB -> float32 [size, size, 3].
      files: the configuration, then the files of weights.
    """

    towers: Any
    tokenizer: Tokenizer
    preprocess: Preprocess
    files: tuple[Path, ...]


class Clip:
    """A frozen CLIP or one of its kin, such as a SigLIP: one of the `Encoder`s.

    Attributes:
      source: the name given to `load_clip`. directory: the folder with its files. name: the folder's name for a local
        directory, otherwise `source`.
      towers, tokenizer: the parts. preprocess: PIL image, RGB -> float32 [size, size, 3]. config: the sizes.
      image_settings: how images are embedded; image_precision, one of them, is the dtype of the image tower. Texts and
        proxies do not depend on them.
      embedded: whether this is the checkpoint that comes with the package. known_words: the words that it was trained
        on, None if unknown.
    """

    def __init__(self, source: str, directory: Path, parts: Parts, image_settings: ImageSettings):
        self.source, self.directory, self.files = source, directory, parts.files
        self.image_settings = image_settings
        self.image_precision = image_settings.image_precision
        self.towers, self.tokenizer, self.preprocess = parts.towers, parts.tokenizer, parts.preprocess
        towers = parts.towers
        if self.image_precision != "float32":
            dtype = compute_dtype(self.image_precision)
            towers.image = jax.tree.map(lambda array: array.astype(dtype), towers.image)
        self.config, self.embedded = CLIPConfig(towers.text.config, towers.image.config), source == "embedded"
        self.name = directory.resolve().name if self._is_local() else source
        self.embedding_width, self.token_width = self.config.image.embed, self.config.text.width
        words = directory / "words.json"
        self.known_words = frozenset(map(str, read_json(words, list))) if words.exists() else None

    def __deepcopy__(self, memo: dict) -> Clip:
        # Frozen and large, so scikit-learn's clone and copy.deepcopy share it.
        return self

    def __repr__(self) -> str:
        changed = "".join(f", {name}={value!r}" for name, value in self.image_settings.changed().items())
        return f"load_clip({self.source!r}{changed})"

    def _is_local(self) -> bool:
        """Whether it was loaded from a local directory."""
        return not self.embedded and Path(self.source).resolve() == self.directory.resolve()

    @property
    def place(self) -> str:
        """The name by which `load_clip` finds this checkpoint from any folder on this machine; of one from a hub, with
        the commit that was used."""
        if self._is_local():
            return str(self.directory.resolve())
        is_commit = COMMIT.fullmatch(self.directory.name) and "://" not in self.source and not self.embedded
        return f"{self.source.partition('@')[0]}@{self.directory.name}" if is_commit else self.source

    @functools.cached_property
    def hash(self) -> str:
        """SHA-256 of everything that embeddings depend on: weights, configuration, tokenizer, preprocessing, and the
        settings for images."""
        weights = hashlib.sha256(self.files[0].read_bytes())
        for path in self.files[1:]:
            with path.open("rb") as file:
                weights.update(hashlib.file_digest(file, "sha256").digest())
        digest = hashlib.sha256(weights.hexdigest().encode())
        small = [self.directory / name for name in SMALL_FILES[1:]]
        for path in [*small, *sorted(self.directory.glob(SENTENCEPIECE))]:
            digest.update(hashlib.sha256(path.read_bytes()).digest() if path.exists() else b"none")
        for value in self.image_settings.changed().values():
            digest.update(value.encode())
        return digest.hexdigest()

    @property
    def shares_prompt(self) -> bool:
        """Whether what stands before the slot is computed once for all images: in a causal text tower."""
        return self.config.text.padding is None

    def step_operations(self, ids: Sequence[int], slot: int) -> int:
        """Operations of one optimisation step of one image."""
        return step_operations(self.config.text, ids, slot)

    def image_operations(self) -> int:
        """Operations of embedding one image."""
        return image_operations(self.config.image)

    @property
    def temperature_scale(self) -> float:
        """The factor that multiplies cosines, as in training."""
        return float(np.exp(self.towers.logit_scale[...]))

    def probabilities(self, rows: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Zero-shot probabilities [images, texts] of unit rows [images, embed], [texts, embed]; rows sum to 1.

        A CLIP was trained with this softmax. A SigLIP was trained with a sigmoid p for every text: p / (1 - p),
        normalised, is the probability of each text if exactly one of them is true. That is the same softmax of its
        logits, in which its bias has no influence.
        """
        return softmax_probabilities(rows, texts, self.temperature_scale)

    @overload
    def embed_images(
        self, images: Images, on_error: Literal["raise"] = "raise", normalize: bool = True, progress: bool = False
    ) -> np.ndarray: ...

    @overload
    def embed_images(
        self, images: Images, on_error: Literal["skip"], normalize: bool = True, progress: bool = False
    ) -> tuple[np.ndarray, np.ndarray]: ...

    @names_arguments
    def embed_images(
        self, images: Images, on_error: str = "raise", normalize: bool = True, progress: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Image embeddings, float32 [images, embed], unit rows unless `normalize=False`.

        Args:
          images: a folder (recursive, sorted by path), a list of paths, PIL images or uint8 arrays [h, w, 3].
          on_error: "raise", or "skip" to return (embeddings [kept, embed], kept indices int [kept]).
          progress: whether to show a bar with a time estimate on stderr.

        Raises:
          UnreadableImagesError: lists all unreadable images; with "skip" only if no image is readable.
        """
        if on_error not in ("raise", "skip"):
            raise InputError(f'on_error is {on_error!r}, expected "raise" or "skip"', "on_error")
        images = as_list(images)
        result = self.embed_readable(images, normalize, progress, stop_at_failure=on_error == "raise")
        if result.failures and (on_error == "raise" or not len(result.indices)):
            raise UnreadableImagesError(result.failures, len(images))
        warn_of_own_range(result.own_range)
        return (result.embeddings, result.indices) if on_error == "skip" else result.embeddings

    def embed_readable(
        self,
        images: Sequence,
        normalize: bool = True,
        progress: bool = False,
        stop_at_failure: bool = False,
        bar: Bar | None = None,
        thumbnail: Callable[[Image.Image], bytes] | None = None,
    ) -> EmbeddedImages:
        """Embeds the images that can be decoded.

        Args:
          stop_at_failure: after the first failure only decode, to list all failures.
          bar: a larger progress bar to advance; None opens one.
          thumbnail: makes a thumbnail of each decoded image.
        """
        mesh = image_mesh()
        block = self.image_block * mesh.size
        least = FAST_SIDES * self.config.image.size if self.image_settings.decode == "fast" else None
        indices: list[int] = []
        failures: list[Unreadable] = []
        embeddings: list[np.ndarray | jax.Array] = [np.zeros((0, self.embedding_width), np.float32)]
        own_range: list[tuple[int, int]] = []
        thumbnails: list[bytes] = []

        def preprocess(picture: Image.Image) -> tuple[np.ndarray, bytes]:
            if OWN_RANGE in picture.info:
                own_range.append(picture.size)
            return self.preprocess(picture), thumbnail(picture) if thumbnail else b""

        shown = progress if bar is None else bar
        with open_bar(len(images), "embedding images", "image", shown) as bar:
            for batch in stream_pixels(images, preprocess, block, least=least):
                seen = len(indices) + len(failures)
                failures += [item for item in batch if isinstance(item, Unreadable)]
                readable = [(i, item) for i, item in enumerate(batch) if not isinstance(item, Unreadable)]
                indices += [seen + i for i, _ in readable]
                thumbnails += [small for _, (_, small) in readable if thumbnail]
                if readable and not (failures and stop_at_failure):
                    # Do not wait for this batch: the device computes it while the next one is decoded. Do wait for the
                    # batch before it, so that pixels of many batches never pile up on the device.
                    rows = pad_rows(np.stack([pixels for _, (pixels, _) in readable]), block)
                    with matmul_precision(self.image_precision):
                        embeddings.append(_embed_block(self.towers.image, rows, mesh)[: len(readable)])
                    embeddings[-2] = np.asarray(embeddings[-2])
                bar.update(len(batch))
                chunk_done()
        raw = np.concatenate([np.asarray(block, np.float32) for block in embeddings])
        rows = unit_rows(raw) if normalize else raw
        return EmbeddedImages(rows, np.array(indices, np.int64), tuple(failures), len(own_range), tuple(thumbnails))

    @property
    def image_block(self) -> int:
        """Images in one call of a device. The shape is fixed, so that an embedding never depends on other images. The
        number for accelerators was not compared with others."""
        return self.towers.image.cpu_block if jax.default_backend() == "cpu" else 256

    def check_embeddings(self, embeddings: ArrayLike | StoredRows) -> np.ndarray | StoredRows:
        """Checks embeddings and returns them as an array [images, embed] of float32 or float64. `StoredRows` were
        checked when they were opened and are returned unchanged.

        Raises InputTypeError for a sparse matrix and for values that are not numbers; InputError for complex numbers,
        another shape, no rows, values that are not finite, and rows whose norm differs from 1 by more than 1e-3 (1e-2
        for float16 and bfloat16).
        """
        width = self.embedding_width
        if isinstance(embeddings, StoredRows) and embeddings.shape[1] == width:
            return embeddings
        rows = real_numbers(embeddings)
        tolerance = 1e-3 if rows.dtype.itemsize > 2 else 1e-2
        if jnp.issubdtype(rows.dtype, np.floating) and rows.dtype != np.float64:
            rows = rows.astype(np.float32, copy=False)
        if rows.dtype.kind not in "fiu" or rows.ndim != 2 or rows.shape[1] != width or not len(rows):
            single = ". Reshape your data if it is one image: X.reshape(1, -1)" if rows.ndim == 1 and len(rows) else ""
            raise InputError(
                f"expected embeddings of shape [images, {width}], 1 image or more, found {rows.dtype} of shape "
                f"{list(rows.shape)}{single}",
                "embeddings",
            )
        norms = np.sqrt(np.einsum("ie,ie->i", rows, rows, dtype=np.float64))
        damaged = np.flatnonzero(~np.isfinite(norms))
        if len(damaged):
            raise InputError(
                f"embeddings must be finite numbers, row {damaged[0]} holds NaN or inf (such rows: {len(damaged)}): "
                "leave these images out",
                "embeddings",
            )
        wrong = np.flatnonzero(np.abs(norms - 1) >= tolerance)
        if len(wrong):
            raise InputError(
                f"embeddings must be rows of length 1, row {wrong[0]} has norm {norms[wrong[0]]:.4g} (such rows: "
                f"{len(wrong)}): use clip.embed_images, or divide each row by its norm",
                "embeddings",
            )
        return rows if rows.dtype == np.float64 else rows.astype(np.float32, copy=False)

    @names_arguments
    def embed_texts(self, texts: Sequence[str], normalize: bool = True) -> np.ndarray:
        """Text embeddings, float32 [texts, embed], unit rows unless `normalize=False`.

        Raises InputError for a text longer than the context.
        """
        if isinstance(texts, str):
            raise InputTypeError(f"expected a list of texts, found one text {texts!r}: put it in a list", "texts")
        if not (isinstance(texts, Collection) and all(isinstance(text, str) for text in texts)):
            raise InputTypeError(f"expected a list of texts, {found_text(texts)}", "texts")
        if not len(texts):
            return np.zeros((0, self.config.text.embed), np.float32)
        ids, blocks = self.tokenizer.pad(texts), []
        with matmul_precision("float32"):
            for begin in range(0, len(ids), TEXT_BLOCK):
                rows = ids[begin : begin + TEXT_BLOCK]
                block = pad_rows(rows, TEXT_BLOCK if len(ids) > TEXT_BLOCK else -(-len(rows) // 8) * 8)
                blocks.append(np.asarray(_embed_texts(self.towers.text, block))[: len(rows)])
        raw = np.concatenate(blocks)
        return unit_rows(raw) if normalize else raw

    def token_embeddings(self, words: Sequence[str]) -> np.ndarray:
        """e(word): the mean of each word's token embeddings, float32 [words, width].

        The tokens are those of a word inside a text: SigLIP 2 has others at its start, where no space is before it.
        """
        table = self.towers.text.tokens[...]
        rows = [table[jnp.asarray(self.tokenizer.encode(f" {word}"))].mean(0) for word in words]
        return np.asarray(rows, np.float32).reshape(len(rows), self.token_width)

    def slot_encoder(
        self, ids: tuple[int, ...], slot: int, dtype: Any = np.float32, plain: bool = False
    ) -> SlotEncoder:
        """The text tower for one prompt, a proxy [width] -> its unit embedding [embed]. See
        `multimap_jax.encoders.clip.slot.slot_encoder`.

        Args:
          ids: the prompt's tokens from start to end. slot: which of them the proxy replaces.
          dtype: what the tower computes in.
          plain: without position embeddings and final layer norm, as the authors' released program runs the tower.
        """
        tower = jax.tree.map(lambda array: jnp.asarray(array, dtype), self.towers.text)
        return compiled_slot_encoder(tower, ids, slot, not plain, not plain)


def real_numbers(embeddings: Any) -> np.ndarray:
    """Converts given embeddings to an array of real numbers. Errors as in `Clip.check_embeddings`."""
    if scipy.sparse.issparse(embeddings):
        raise InputTypeError(
            f"expected embeddings as a dense array, found a sparse {type(embeddings).__name__}: use its toarray()",
            "embeddings",
        )
    array = np.asarray(embeddings)
    if array.dtype.kind in "US":
        raise InputTypeError(
            "expected embeddings as numbers, found text: embed the images with clip.embed_images first", "embeddings"
        )
    if array.dtype.kind == "c":
        message = f"Complex data not supported: embeddings are {array.dtype}, expected real numbers"
        raise InputError(message, "embeddings")
    if array.dtype.kind != "O":
        return array
    try:
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        message = f"expected embeddings as numbers, found other values ({error})"
        raise InputTypeError(message, "embeddings") from None


def _embed_each(tower: Callable, inputs: jax.Array) -> jax.Array:
    return jax.vmap(tower)(inputs)


_embed_texts = jax.jit(_embed_each)


@functools.partial(jax.jit, static_argnums=2)
def _embed_block(tower: Callable, pixels: np.ndarray, mesh: Mesh) -> jax.Array:
    return split_images(_embed_each, mesh, 1)(tower, pixels)
