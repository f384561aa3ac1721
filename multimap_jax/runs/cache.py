"""The cache of a run in --out: the plan of its images, their embeddings and their proxies. Nothing is computed twice.

    plan/plan_000000.parquet            name, version and shard of images; append-only: new images get new shards
    embeddings/img_emb/img_emb_000007.npy           float32 [rows, embed], unit rows
    embeddings/metadata/metadata_000007.parquet     of the same rows: image_path, and the version that was read
    embeddings/skipped/skipped_000007.parquet       of unreadable images: image_path, version, reason, and
                                                    again: whether the next run tries them again
    embeddings/thumbnails/thumbnails_000007.npz     of the same rows as metadata; optional, for the page
    embeddings/encoder.json             what the embeddings depend on besides the images
    proxies/<aspect>-<key>/             the same for proxies: plan_000000.parquet, proxies_000003.npz, key.json

A shard of images is done when its img_emb file exists, which is written last. embeddings/ has clip-retrieval's layout.
An image's embedding never depends on other images, and neither does its proxy unless batches matter. So images may be
split into shards in any way.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from multimap_jax.arrays.rows import StoredRows
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError, errors_about, warn
from multimap_jax.images.color import warn_of_own_range
from multimap_jax.images.decoding import Unreadable
from multimap_jax.images.thumbnails import thumbnail
from multimap_jax.proxies.fit import ProxyFit
from multimap_jax.runtime.profiling import traced
from multimap_jax.runtime.progress import open_bar
from multimap_jax.sources.plan import REPAIR, Image, ShardPlan, check_texts, is_sound, numbers_of
from multimap_jax.sources.source import Source
from multimap_jax.storage.encoding import as_array, as_arrays, as_json, as_table, slug
from multimap_jax.storage.local import Content
from multimap_jax.storage.output import delete, set_aside, units, write, write_all
from multimap_jax.storage.packed import PackedItems, as_packed
from multimap_jax.storage.paths import exists
from multimap_jax.storage.reading import explained, mapped_array, mapped_member, read_arrays, read_json, read_table

# Most images in a shard, and fewest shards of a folder, if each holds a block. Both are chosen so that an interrupted
# run loses a sixteenth of its work, or some minutes of it.
SHARD_IMAGES = 4096
LEAST_SHARDS = 16
# Most images of a run that keeps thumbnails, which take about 0.4 GB. The page of a larger run shows less than a fifth
# of its images, so making their thumbnails takes little of its time.
THUMBNAILS = 100_000
# How much the squared length of a unit row in float32 may differ from 1.
NORM_TOLERANCE = 1e-3
# The arrays of a shard of proxies that are read into memory at once.
SMALL = ("names", "versions", "reference", "loss", "losses", "image_steps", "block_size")
# The kinds of files of a shard of embeddings, and their endings.
ENDINGS = {"img_emb": "npy", "metadata": "parquet", "skipped": "parquet", "thumbnails": "npz"}
CHANGED = "changed or removed during the run"
OTHER_ENCODER = "choose another folder, or discard the cache"


class ShardCache:
    """A cache of results that are computed shard by shard, in the folder `name` of `out`, with the plan of the shards.

    A subclass defines the file whose existence means that a shard is done (`file`), how to check a shard (`check`), and
    the images of a finished shard (`held`).
    """

    def __init__(self, out: Path, name: str, widths: tuple[int, ...] = ()):
        self.out, self.name, self.widths, self.plan = out, name, widths, ShardPlan(out, name)

    def file(self, shard: int) -> str:
        raise NotImplementedError

    def check(self, shard: int) -> None:
        raise NotImplementedError

    def held(self, shard: int) -> set[Image]:
        raise NotImplementedError

    def done(self) -> list[int]:
        """The numbers of the finished shards."""
        like = self.out / self.file(0)
        return numbers_of(like.parent.glob(f"*{like.suffix}"), like)

    def plan_shards(self, images: Sequence[Image], size: Callable[[], int], alone: bool = True) -> dict[Image, int]:
        """The shards of the images; new images get new shards of `size()`.

        Damaged shards are first set aside, to be recomputed, unless other workers are running (`alone` is False).
        """
        shards, damaged = self.done(), []
        if alone:
            damaged = [shard for shard in shards if not is_sound(self.check, shard)]
            for shard in damaged:
                set_aside(self.out, self.file(shard))
        held = {shard: self.held(shard) for shard in shards if shard not in damaged}
        if alone and (files := [self.out / self.file(shard) for shard in damaged] + self.plan.mend(held)):
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            warn(f"{files[0]}{more} were damaged: multimap recomputes what they held")
        return self.plan.extend(images, size(), held)


def keyed_folder(kind: str, aspect: str, key: dict) -> str:
    """The name of the cache of one aspect. key: everything that its results depend on besides the images."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return f"{kind}/{slug(aspect)}-{digest}"


class EmbeddingCache(ShardCache):
    """The embeddings in the folder `out`. width: of embeddings."""

    def __init__(self, out: Path, width: int = 0):
        super().__init__(out, "plan", (width,))

    def check_listing(self, images: Sequence[Image]) -> None:
        """InputError if the plan has other images than these: another worker sees other images."""
        planned = set(self.plan.read())
        differing = len(planned.symmetric_difference(images)) if planned else 0
        if differing:
            raise InputError(
                f"the plan in {self.out} has {len(planned):,} images, but this worker finds {len(images):,} "
                f"({differing:,} differ): give all workers the same images, or embed new ones in one part",
                "part",
            )

    def cut(self, images: Sequence[Image], block: int, alone: bool = True) -> dict[Image, int]:
        """The shards of the images. block: number of images that are computed at once."""
        size = min(SHARD_IMAGES, max(1, -(-len(images) // (LEAST_SHARDS * block))) * block)
        return self.plan_shards(images, lambda: size, alone)

    def check(self, shard: int) -> None:
        """Raises any error if a shard is not as it was written."""
        kept, skipped = self.read("metadata", shard), self.read("skipped", shard)
        array = mapped_array(self.out / self.file(shard))
        check_texts(kept["image_path"], kept["version"])
        check_texts(skipped["image_path"], skipped["version"], skipped["reason"])
        if array.shape != (len(kept["image_path"]), *self.widths) or array.dtype != np.float32:
            raise ValueError(f"{array.dtype} {array.shape}")
        norms = np.einsum("ie,ie->i", array, array)
        if not (np.abs(norms - 1) < NORM_TOLERANCE).all():
            raise ValueError("rows that are not of unit length")

    @errors_about("fresh")
    def check_encoder(self, clip: Clip) -> None:
        """ValueError where the embeddings that are there are another encoder's."""
        wanted = {"hash": clip.hash, "name": clip.place, "embed": clip.embedding_width}
        wanted |= {"precision": clip.image_precision, "block": clip.image_block}
        path = self.out / "embeddings" / "encoder.json"
        if not exists(path):
            if self.done():
                message = f"{path} is missing, so the encoder of these embeddings is unknown: choose another folder"
                raise InputError(message, "out")
            return write(self.out, "embeddings/encoder.json", as_json(wanted))
        found = read_json(path, advice=OTHER_ENCODER)
        if any(found.get(key) != wanted[key] for key in wanted if key != "name"):
            raise InputError(
                f"{self.out} has embeddings of another encoder ({found.get('name')}), or of this one with another "
                f"configuration, precision, decoding or device: {OTHER_ENCODER}"
            )

    def held(self, shard: int) -> set[Image]:
        """The images of a finished shard, without those to try again."""
        kept, skipped = self.read("metadata", shard), self.read("skipped", shard)
        found = set(zip(kept["image_path"], kept["version"]))
        rows = zip(skipped["image_path"], skipped["version"], skipped["again"])
        return found | {(name, read) for name, read, again in rows if not again}

    def compute(
        self,
        clip: Clip,
        shards: dict[Image, int],
        mine: Sequence[int],
        source: Source,
        progress: bool,
        thumbnails: bool = True,
    ) -> None:
        """Embeds the unfinished ones of the shards `mine`. thumbnails: whether to keep them too, if the shards have at
        most THUMBNAILS images.

        A later run plans an image again if it changed or was removed during this one, or failed for a passing reason.
        """
        order = {name: i for i, name in enumerate(source.images)}
        wanted: dict[int, list[Image]] = {shard: [] for shard in sorted(set(mine).difference(self.done()))}
        for image, shard in shards.items():
            if shard in wanted:
                wanted[shard].append(image)
        total, own_range = sum(map(len, wanted.values())), 0
        make = thumbnail if thumbnails and len(shards) <= THUMBNAILS else None
        with open_bar(total, "embedding images", "image", shown=progress) as bar, traced("embedding"):
            for shard, images in wanted.items():
                images = sorted(images, key=lambda image: order[image[0]])
                found = clip.embed_readable([source.images[name] for name, _ in images], bar=bar, thumbnail=make)
                own_range += found.own_range
                now = source.versions(name for name, _ in images)
                same = [found_now == planned for found_now, (_, planned) in zip(now, images)]
                rows = [row for row, i in enumerate(found.indices) if same[i]]
                failed = [failure for failure in found.failures if same[failure.index]]
                failed += [Unreadable(i, images[i][0], CHANGED, True) for i, known in enumerate(same) if not known]
                why: dict[str, list] = {
                    "reason": [one.reason for one in failed],
                    "again": [one.transient for one in failed],
                }
                contents: dict[str, Content] = {
                    "skipped": as_table(columns([images[one.index] for one in failed]) | why),
                    "metadata": as_table(columns([images[found.indices[row]] for row in rows])),
                    "img_emb": as_array(found.embeddings[rows]),
                }
                if make:  # not flushed to the disk: they can be made again
                    packed = as_arrays(as_packed([found.thumbnails[row] for row in rows]))
                    write_all(self.out, {self.file(shard, "thumbnails"): packed}, sync=False)
                write_all(self.out, {self.file(shard, kind): content for kind, content in contents.items()})
        warn_of_own_range(own_range)

    def gather(self, shards: dict[Image, int]) -> tuple[StoredRows, np.ndarray, list[Unreadable], PackedItems]:
        """Reads the embeddings of the images: (rows in the order of the images, the indices of these images int [kept],
        the unreadable images, the thumbnails of the rows)."""
        rows: dict[Image, int] = {}
        reasons: dict[Image, str] = {}
        arrays, begin, numbers = [], 0, sorted(set(shards.values()))
        for shard in numbers:
            kept, skipped = self.read("metadata", shard), self.read("skipped", shard)
            arrays.append(mapped_array(self.out / self.file(shard)))
            end = begin + len(arrays[-1])
            rows |= zip(zip(kept["image_path"], kept["version"]), range(begin, end))
            reasons |= zip(zip(skipped["image_path"], skipped["version"]), skipped["reason"])
            begin = end
        images = list(shards)
        found = np.array([i for i, image in enumerate(images) if image in rows], np.int64)
        where = np.array([rows[images[i]] for i in found], np.int64)
        failures = [
            Unreadable(i, name, reasons[name, read])
            for i, (name, read) in enumerate(images)
            if (name, read) not in rows
        ]
        stored, files = StoredRows(arrays, where), [self.out / self.file(shard, "thumbnails") for shard in numbers]
        return stored, found, failures, PackedItems(files, stored.ends, where)

    def file(self, shard: int, kind: str = "img_emb") -> str:
        return f"embeddings/{kind}/{kind}_{shard:06}.{ENDINGS[kind]}"

    def read(self, kind: str, shard: int) -> dict[str, list]:
        more, path = ("reason", "again") if kind == "skipped" else (), self.out / self.file(shard, kind)
        with explained(f"{path}", REPAIR):
            return read_table(path, ("image_path", "version", *more))


class ProxyCache(ShardCache):
    """The proxies of one aspect, in their own folder. widths: of proxies and of prompt embeddings."""

    @classmethod
    def of(cls, out: Path, aspect: str, key: dict, widths: tuple[int, int]) -> ProxyCache:
        """The proxies of one aspect in `out`. key: everything that they depend on besides the images."""
        return cls(out, keyed_folder("proxies", aspect, key), widths)

    def cut(self, images: Sequence[Image], key: dict, size: Callable[[], int]) -> dict[Image, int]:
        """The shards of the images. size: gives the images of a shard; called only if none was planned before."""
        if not is_sound(self.shard_size):
            write(self.out, f"{self.name}/key.json", as_json(key | {"shard": size()}))
        return self.plan_shards(images, self.shard_size)

    def check(self, shard: int) -> None:
        check_fit(self.out / self.file(shard), self.widths)

    def shard_size(self) -> int:
        """Images of a shard, as decided by the first run; any error if that is not recorded."""
        size = read_json(self.plan.folder / "key.json")["shard"]
        if type(size) is not int or size < 1:
            raise ValueError(f"a shard of {size!r} images")
        return size

    def held(self, shard: int) -> set[Image]:
        """The images of a finished shard."""
        arrays = read_arrays(self.out / self.file(shard), ("names", "versions"))
        return set(zip(arrays["names"].tolist(), arrays["versions"].tolist()))

    def compute(self, shards: dict[Image, int], mine: Sequence[int], fit: Callable[[np.ndarray], ProxyFit]) -> None:
        """Learns the unfinished ones of the shards `mine`. fit: indices of images -> their proxies."""
        numbers, everyone = np.array(list(shards.values())), list(shards)
        for shard in sorted(set(mine).difference(self.done())):
            rows = np.flatnonzero(numbers == shard)
            images = [everyone[i] for i in rows]
            names, versions = (np.array([image[k] for image in images]) for k in (0, 1))
            arrays = dataclasses.asdict(fit(rows)) | {"names": names, "versions": versions}
            write(self.out, self.file(shard), as_arrays(arrays))

    def gather(self, shards: dict[Image, int]) -> ProxyFit:
        """The fits of all shards as one, in the order of the images; losses are means over all images."""
        place, weights, begin = {image: i for i, image in enumerate(shards)}, [], 0
        losses: np.ndarray | float = 0.0
        steps, where = 0, np.empty(len(shards), np.int64)
        found: dict = {"reference": np.empty(len(shards), np.int64), "loss": np.empty(len(shards), np.float32)}
        mapped: dict[str, list] = {"proxies": [], "prompt_embeddings": []}
        for shard in sorted(set(shards.values())):
            arrays = read_arrays(self.out / self.file(shard), SMALL)
            images = zip(arrays["names"].tolist(), arrays["versions"].tolist())
            here = [(place[image], row) for row, image in enumerate(images) if image in place]
            to, rows = np.array(here, np.int64).reshape(-1, 2).T
            for name, whole in found.items():
                whole[to] = arrays[name][rows]
            for name, parts in mapped.items():
                parts.append(mapped_member(self.out / self.file(shard), name))
            where[to] = begin + rows
            begin += len(arrays["names"])
            losses = losses + arrays["losses"].astype(np.float64) * len(arrays["names"])
            weights.append(len(arrays["names"]))
            steps += int(arrays["image_steps"])
            block = int(arrays["block_size"])
        mean = np.asarray(losses / sum(weights), np.float32)
        stored = {name: StoredRows(parts, where) for name, parts in mapped.items()}
        return ProxyFit(
            stored["proxies"],
            stored["prompt_embeddings"],
            found["reference"],
            mean,
            found["loss"],
            block,
            steps,
        )

    def file(self, shard: int) -> str:
        return f"{self.name}/proxies_{shard:06}.npz"


def check_fit(file: Path, widths: tuple[int, ...]) -> None:
    """Any error if a shard of proxies is not as it was written. widths: of proxies and of prompt embeddings."""
    arrays = read_arrays(file)
    check_texts(arrays["names"].tolist(), arrays["versions"].tolist())
    rows = (len(arrays["names"]),)
    shapes = {"versions": rows, "reference": rows, "loss": rows, "image_steps": (), "block_size": ()}
    shapes |= {"losses": arrays["losses"].shape[:1]}
    shapes |= {name: (*rows, width) for name, width in zip(("proxies", "prompt_embeddings"), widths)}
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape or (len(shape) == 2 and array.dtype != np.float32):
            raise ValueError(f"{name}: {array.dtype} {array.shape}, expected {shape}")
        if name != "versions" and not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")


def clear_cache(out: Path) -> None:
    """Deletes the files that the caches in `out` wrote, and no others. Files changed since then are set aside."""
    for unit in (unit for kind in ("plan+", "embeddings+", "proxies+", "answers+") for unit in units(out, kind)):
        for name in delete(out, unit):
            set_aside(out, name)


def columns(images: Sequence[Image]) -> dict[str, list]:
    return {"image_path": [name for name, _ in images], "version": [read for _, read in images]}
