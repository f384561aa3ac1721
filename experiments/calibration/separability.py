"""Measures the thresholds of `multimap_jax.prompts.separability` again, and how often its verdicts are right.

    python -m experiments.calibration.separability --data=../shared/data --models=../shared/models \
        --out=experiments/results/sight.json

The rule: over the cases (`verdict_cases`) whose groups have an NMI of .5 or more, "well" needs a quantile of each
criterion, and "partly" one of the score that these give without the share (QUANTILES). The code has the thresholds that
all sets give. Every set is judged by the thresholds that all other sets give, and then, to compare, by those in the
code.

Without --data and --models the photographs are left out. --cache keeps embeddings and cases: the next run judges the
same cases. Prints one JSON line. About 15 minutes on two CPU cores.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from absl import app, flags, logging

from experiments.benchmarks.measuring import print_result
from experiments.calibration.verdict_cases import DRAWN, PHOTOGRAPHS, drawn_sets, photograph_sets, rate

FLAGS = flags.FLAGS
CRITERIA = ("win_rate", "structure", "share")
LEVELS = ("well", "partly", "hardly")
SPANS = (0.5, 0.3, 0.15, 0.0)  # of the NMI, from this on
QUANTILES = {"win_rate": 0.2, "structure": 0.2, "share": 0.05, "partly": 0.02}
# Kinds of words (see `verdict_cases`) that are counted together.
KINDS = {
    "given": ("true", "too many", "too few"),
    "found": ("found", "found, true number"),
    "wrong": ("wrong", "wrong, found"),
    "one value": ("one value",),
}


def define_flags() -> None:
    flags.DEFINE_integer("images", 200, "pictures of each drawn set", lower_bound=20)
    flags.DEFINE_integer("seed", 17, "of the drawn sets", lower_bound=0)
    flags.DEFINE_string("data", None, "folder of photographs with labels")
    flags.DEFINE_string("models", None, "folder of the checkpoints that see them")
    flags.DEFINE_string("cache", None, "folder for embeddings and cases")
    flags.DEFINE_integer("processes", 2, "that share the sets", lower_bound=1)
    flags.DEFINE_string("out", None, "file for the JSON line, besides printing it")


def thresholds(rows: Sequence[dict]) -> dict[str, float]:
    """By the rule; ValueError where no case has such groups."""
    good = [row for row in rows if row.get("nmi", -1) >= SPANS[0]]
    if not good:
        raise ValueError(
            f"none of {len(rows)} cases has an NMI of {SPANS[0]} or more: expected some to take quantiles of"
        )
    found = {name: float(np.quantile([row[name] for row in good], QUANTILES[name])) for name in CRITERIA}
    found["partly"] = float(np.quantile([score(row, found | {"partly": 1.0}) for row in good], QUANTILES["partly"]))
    return {name: round(value, 4) for name, value in found.items()}


def score(row: dict, limits: dict) -> float:
    """`Separability.score` of a case, under other thresholds."""
    won, share = (row["win_rate"] - 0.5) / (limits["win_rate"] - 0.5), row["share"] / limits["share"]
    return min(won, row["structure"] / limits["structure"], max(share, limits["partly"]))


def level(row: dict, limits: dict) -> str:
    """The verdict on a case."""
    reached = score(row, limits)
    return "well" if reached >= 1 else "partly" if reached >= limits["partly"] else "hardly"


def counts(rows: Sequence[dict], verdict: Callable[[dict], str]) -> dict[str, dict[str, dict[str, int]]]:
    """How many cases have each verdict, by kind of words and span of the NMI, "" for those that are not grouped."""
    found: dict = {}
    for kind, kinds in KINDS.items():
        for row in (row for row in rows if row["kind"] in kinds):
            span = str(next(low for low in SPANS if row["nmi"] >= low)) if "nmi" in row else ""
            cell = found.setdefault(kind, {}).setdefault(span, dict.fromkeys(LEVELS, 0))
            cell[verdict(row)] += 1
    return found


def judge(rows: Sequence[dict]) -> None:
    """Sets the "verdict" of each row, by the thresholds that all other sets give. Drawings and photographs of one
    subject are one set."""
    for family in {row["set"].split()[0] for row in rows}:
        limits = thresholds([row for row in rows if row["set"].split()[0] != family])
        for row in rows:
            if row["set"].split()[0] == family:
                row["verdict"] = level(row, limits)


def rows_of(task: tuple) -> list[dict]:
    """The rows of one family of drawings or one folder of photographs. In a process of its own."""
    import multimap_jax as mm
    from experiments.calibration.verdict_cases import with_memory
    from multimap_jax.words.vocabulary import read_vocabulary

    name, images, seed, data, models, cache = task
    clips = {"embedded": with_memory(mm.load_clip("embedded"))}
    if models:
        clips |= {each: with_memory(mm.load_clip(models / each)) for each in ("photo-mini", "fashion-mini")}
    sets = photograph_sets(name, clips, data, cache) if data else drawn_sets(name, clips, images, seed, cache)
    vocabulary = read_vocabulary(None)
    return [row for each in sets for row in rate(clips[each.encoder], each, vocabulary)]


def all_rows(data: Path | None, models: Path | None, cache: Path | None) -> list[dict]:
    """The rows of all sets; those of an earlier run where `cache` has them."""
    kept = cache / "cases.json" if cache else None
    if kept and kept.exists():
        return json.loads(kept.read_text())
    tasks = [(name, FLAGS.images, FLAGS.seed, data, models, cache) for name in PHOTOGRAPHS if data]
    tasks += [(name, FLAGS.images, FLAGS.seed, None, models, cache) for name in DRAWN]
    rows = []
    with ProcessPoolExecutor(FLAGS.processes, multiprocessing.get_context("spawn")) as pool:
        for task, found in zip(tasks, pool.map(rows_of, tasks)):
            rows += found
            logging.info("%s: %d cases", task[0], len(found))
    if kept:
        kept.write_text(json.dumps(rows))
    return rows


def photographs(rows: Sequence[dict]) -> list[dict]:
    """The first row of each aspect of photographs under true and under found words, seen by their own checkpoint."""
    found: dict = {}
    for row in (row for row in rows if not row["drawn"] and row["kind"] in ("true", "found") and not row["noise"]):
        if (row["encoder"], row["subject"]) == PHOTOGRAPHS[row["set"]][:2]:
            found.setdefault(tuple(row[name] for name in ("set", "aspect", "kind")), row)
    return list(found.values())


def mistakes(rows: Sequence[dict]) -> list[dict]:
    """Good groups of words that are said to be hardly separated, and bad ones of words that are said to be well."""
    good = [row for row in rows if row.get("nmi", -1) >= SPANS[0] and row["verdict"] == "hardly"]
    return good + [row for row in rows if row.get("nmi", 0) < SPANS[2] and row["verdict"] == "well"]


def main(_):
    from multimap_jax.prompts import separability
    from multimap_jax.runtime.machine import machine

    data, models, cache = (Path(folder) if folder else None for folder in (FLAGS.data, FLAGS.models, FLAGS.cache))
    if not all(folder and folder.is_dir() for folder in (data, models)):
        logging.warning("no photographs: give --data and --models that are there")
        data = models = None
    rows = all_rows(data, models, cache)
    code = {name: getattr(separability, name.upper()) for name in (*CRITERIA, "partly")}
    judge(rows)
    found = {"machine": machine(), "images": FLAGS.images, "seed": FLAGS.seed, "code": code}
    found |= {"found": thresholds(rows), "left_out": counts(rows, lambda row: row["verdict"])}
    found |= {"in_code": counts(rows, lambda row: level(row, code))}
    found |= {"photographs": photographs(rows), "mistakes": mistakes(rows)}
    print_result(found, FLAGS.out)


if __name__ == "__main__":
    define_flags()
    app.run(main)
