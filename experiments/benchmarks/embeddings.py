"""Ten million embeddings grouped by two aspects: seconds and memory of the whole command.

    python -m experiments.benchmarks.embeddings --out=experiments/results/benchmark_embeddings_cpu.json

Embeddings of 512 in float16, made shard by shard in the layout of clip-retrieval: every one is the sum of directions of
a color (3 words) and of a species (40 words) and of noise, so strong that zero-shot agrees with what was planted at an
adjusted Rand index of .75. The encoder has small random towers, so that the groups are all there is to find. The
command runs in a process of its own whose anonymous memory is looked at five times a second. On the smallest number of
rows the estimator runs too, with all of them in memory. Prints one JSON line; about 12 minutes on two CPU cores and
12 GB of disk for ten million, all of it deleted.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import in_process, print_result
from experiments.benchmarks.random_clip import SMALL_IMAGE, SMALL_TEXT, write_random_clip
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
EMBED, PIECE, AIM = 512, 1_000_000, 0.75
SPECIES = tuple(
    f"{a}{b}{c}" for a in ("kar", "mel", "ton", "vis") for b in ("do", "lu") for c in ("p", "rg", "st", "x", "m")
)
WORDS = {"color": ("red", "green", "blue"), "species": SPECIES}
LOOK_SECONDS = 0.2


def define_flags() -> None:
    flags.DEFINE_list("images", ["1000000", "10000000"], "rows, each a measurement, the smallest first")
    flags.DEFINE_bool("estimator", True, "whether the estimator runs on the smallest, all rows in memory")
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def aspects():
    import multimap_jax as mm

    return [mm.Aspect(name, words=words) for name, words in WORDS.items()]


class Planted:
    """Rows with known groups. directions: {aspect: [words, embed]}, each of which only its own word's prompt sees;
    spread: of each aspect, against noise of 1."""

    def __init__(self, clip):
        self.texts = {each.name: clip.embed_texts([each.fill(word) for word in each.words]) for each in aspects()}
        apart = np.linalg.pinv(np.concatenate([texts - texts.mean(0) for texts in self.texts.values()]), 1e-4).T
        parts = np.split(apart, np.cumsum([len(words) for words in WORDS.values()])[:-1])
        self.directions = {name: part / np.linalg.norm(part, axis=1).mean() for name, part in zip(WORDS, parts)}
        self.spread = dict.fromkeys(WORDS, 1.0)
        for name in WORDS:
            low, high = 0.0, 1000.0
            for _ in range(20):
                self.spread[name] = middle = (low + high) / 2
                weak = self.zero_shot(name, *self.rows(20_000, seed=1)) < AIM
                low, high = (middle, high) if weak else (low, middle)

    def rows(self, count: int, seed: int):
        """(float16 [count, embed], {aspect: int [count]})."""
        random = np.random.default_rng(seed)
        truth = {name: random.integers(len(words), size=count) for name, words in WORDS.items()}
        found = np.empty((count, EMBED), np.float16)
        for begin in range(0, count, 4096):
            here = slice(begin, min(begin + 4096, count))
            part = random.standard_normal((here.stop - begin, EMBED), np.float32)
            for name, groups in truth.items():
                part += self.spread[name] * self.directions[name][groups[here]]
            found[here] = part / np.linalg.norm(part, axis=1, keepdims=True)
        return found, truth

    def zero_shot(self, name: str, rows: np.ndarray, truth: dict) -> float:
        from sklearn.metrics import adjusted_rand_score

        return adjusted_rand_score(truth[name], (rows.astype(np.float32) @ self.texts[name].T).argmax(1))


def name_of(row: int) -> str:
    return f"{row // 10_000:05}/{row % 10_000:04}.jpg"


def write_pieces(folder: Path, planted: Planted, count: int) -> dict[str, np.ndarray]:
    """Embeddings as clip-retrieval writes them; returns what was planted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    truth: dict[str, list] = {name: [] for name in WORDS}
    for shard, begin in enumerate(range(0, count, PIECE)):
        rows, own = planted.rows(min(PIECE, count - begin), seed=100 + shard)
        np.save(folder / "img_emb" / f"img_emb_{shard:04}.npy", rows)
        names = [name_of(begin + i) for i in range(len(rows))]
        pq.write_table(pa.table({"image_path": names}), folder / "metadata" / f"metadata_{shard:04}.parquet")
        for name, groups in own.items():
            truth[name].append(groups.astype(np.int8))
    return {name: np.concatenate(parts) for name, parts in truth.items()}


def run_command(embeddings: Path, clip: str, out: Path) -> dict:
    """Seconds, highest anonymous memory in bytes and status of the command."""
    flags = [f"--aspect={name}" for name in WORDS] + [f"--words={name}={','.join(WORDS[name])}" for name in WORDS]
    command = [sys.executable, "-m", "multimap_jax", f"--embeddings={embeddings}", f"--clip={clip}", f"--out={out}"]
    begin, highest = time.perf_counter(), 0
    process = subprocess.Popen([*command, *flags], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        highest = max(highest, *(1024 * int(each) for each in re.findall(r"RssAnon:\s+(\d+)", status)), 0)
        time.sleep(LOOK_SECONDS)
    if process.returncode:
        raise RuntimeError(f"the command ended with status {process.returncode}")
    return {"seconds": round(time.perf_counter() - begin, 1), "anonymous": highest}


def agreement(out: Path, truth: dict[str, np.ndarray]) -> dict[str, float]:
    """Adjusted Rand index of each aspect's groups in labels.parquet with what was planted, in the order of names."""
    import pyarrow.parquet as pq
    from sklearn.metrics import adjusted_rand_score

    found = pq.read_table(out / "labels.parquet", columns=[f"{name}: group" for name in WORDS])
    return {name: round(adjusted_rand_score(truth[name], found[f"{name}: group"].to_numpy()), 4) for name in WORDS}


def estimate(clip: str, embeddings: Path, truth: dict[str, np.ndarray]) -> dict:
    """The same by `MultiMaP.fit` with all rows in memory, on the same sample of them."""
    from sklearn.metrics import adjusted_rand_score

    import multimap_jax as mm

    rows = np.concatenate([np.load(file).astype(np.float32) for file in sorted(embeddings.glob("img_emb/*.npy"))])
    rows /= np.sqrt(np.einsum("ie,ie->i", rows, rows, dtype=np.float64))[:, None].astype(np.float32)
    names = [name_of(i) for i in range(len(rows))]
    begin, clip = time.perf_counter(), mm.load_clip(clip)
    labels = {aspect.name: mm.MultiMaP(aspect, clip).fit(rows, names=names).labels_ for aspect in aspects()}
    seconds = round(time.perf_counter() - begin, 1)
    ari = {name: round(adjusted_rand_score(truth[name], labels[name]), 4) for name in WORDS}
    return {"seconds": seconds, "ari": ari}


def main(_):
    import multimap_jax as mm

    rows = []
    with tempfile.TemporaryDirectory() as base:
        checkpoint = Path(base) / "clip"
        checkpoint.mkdir()
        write_random_clip(checkpoint, dataclasses.replace(SMALL_TEXT, width=EMBED, mlp_width=4 * EMBED), SMALL_IMAGE)
        planted = Planted(mm.load_clip(checkpoint))
        for count in map(int, FLAGS.images):
            with tempfile.TemporaryDirectory(dir=base) as place:
                embeddings, out = Path(place) / "embeddings", Path(place) / "out"
                truth = write_pieces(embeddings, planted, count)
                sample = planted.rows(100_000, seed=2)
                row = {"images": count} | run_command(embeddings, str(checkpoint), out)
                timings = json.loads((out / "run.json").read_text())["timings"]
                row |= {"timings": timings, "ari": agreement(out, truth)}
                row["zero_shot"] = {name: round(planted.zero_shot(name, *sample), 4) for name in WORDS}
                if FLAGS.estimator and not rows:
                    row["in_memory"], row["in_memory_peak"] = in_process(estimate, str(checkpoint), embeddings, truth)
            rows.append(row)
            print(row, flush=True)
    print_result({"machine": machine(), "rows": rows}, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
