"""The page of what `experiments.calibration.model_selection` measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from experiments.benchmarks.measuring import lines, source

CONSTANTS, TRUE_WORDS = range(1, 21), "found, true words"
WAYS: dict[str, Callable[[dict], int]] = {
    "found": lambda row: row["found"],
    TRUE_WORDS: lambda row: row["with_true_words"],
    "best by silhouette": lambda row: row["silhouette"],
    "number of words": lambda row: row["words"],
}


def number_table(found: dict) -> str:
    """What `number` measured."""
    twins, photographs = found["twins"], found.get("photographs", {})
    whole = {key: twins[key] + photographs.get(key, []) for key in ("runs", "confidences")}
    parts = ["## Where neither words nor the number of groups are given", *numbers(twins, photographs)]
    parts += ["### From an image folder, a subject and an aspect alone", runs(whole["runs"])]
    if photographs:
        parts += ["### Fashion's largest groups", counted(photographs["counts"])]
    parts += ["### Confidence", confidences(whole["confidences"])]
    parts += ["### Outliers", outliers(twins["outliers"], photographs.get("outliers", []))]
    for row in photographs.get("seconds", []):
        words = f"{row['words']} words, up to {row['most']}" if row["words"] else f"no words, up to {row['most']}"
        parts.append(f"{row['seconds']} s to find the number of groups among {row['images']:,} images: {words}.")
    return "\n\n".join([*parts, source(found)])


def numbers(twins: dict, photographs: dict) -> list[str]:
    """How often the number is right, by kind of set."""
    kinds = {
        "twins, easy": [row for row in twins["runs"] if row["difficulty"] == 0],
        "twins, hard": [row for row in twins["runs"] if row["difficulty"]],
        "subsets of easy twins": [row for row in twins["subsets"] if row["difficulty"] == 0],
        "subsets of hard twins": [row for row in twins["subsets"] if row["difficulty"]],
        "photographs, seen": [row for row in photographs.get("runs", []) if row["seen"]],
        "photographs, not seen": [row for row in photographs.get("runs", []) if not row["seen"]],
    }
    rows = []
    for kind, own in ((kind, own) for kind, own in kinds.items() if own):
        ways = [name for name in WAYS if name != TRUE_WORDS or "with_true_words" in own[0]]
        cells = [exact(own, WAYS[name]) if name in ways else "" for name in WAYS]
        best = max(CONSTANTS, key=lambda k, own=own: hits(own, lambda _: k))
        rows.append([kind, str(len(own)), *cells, f"{exact(own, lambda _, best=best: best)} ({best})"])
    head = ["", "aspects", *WAYS, "best constant (which)"]
    return ["Exact, and within one, of the true numbers of groups.", lines(head, rows)]


def hits(rows: Iterable[dict], way: Callable[[dict], int], within: int = 0) -> int:
    return sum(abs(way(row) - row["true"]) <= within for row in rows)


def exact(rows: list[dict], way: Callable[[dict], int]) -> str:
    return f"{hits(rows, way)}, {hits(rows, way, 1)}"


def runs(rows: list[dict]) -> str:
    """Every aspect: what came out beside what true words and the true number give."""
    cells = []
    for row in rows:
        seen = {True: "yes", False: "no"}.get(row.get("seen"), "")
        level = {0: ", easy", 2: ", hard"}.get(row.get("difficulty"), "")
        own = [row["set"] + level, row["aspect"], seen, str(row["true"]), str(row["found"])]
        own += [", ".join(map(str, row["next"])), f"{row['strength']:.2f}"]
        own += [f"{row['nmi']:.3f}", f"{row['nmi_true']:.3f}", f"{row['again']:.3f}", f"{row['stability']:.2f}"]
        names = row["names"]
        cells.append([*own, ", ".join(names[:8]) + f" and {len(names) - 8} more" * (len(names) > 8)])
    head = ["set", "aspect", "seen", "true number", "found", "next best", "strength", "NMI"]
    head += ["NMI, true words and number", "ARI of a second seed", "the least steady group", "names"]
    return lines(head, cells)


def counted(rows: list[dict]) -> str:
    keys = ("aspect", "true", "found", "strength", "silhouette", "words")
    head = ["aspect", "true number", "found", "strength", "best by silhouette", "words"]
    return lines(head, ([str(row[key]) for key in keys] for row in rows))


def confidences(rows: list[dict]) -> str:
    cells = []
    for row in rows:
        rates = [f"{row[key]:.3f}" if key in row else "–" for key in ("auroc", "auroc_distance")]
        own = [row["set"], row["aspect"], str(row["images"]), f"{row['accuracy']:.3f}", f"{row['confidence']:.3f}"]
        cells.append([*own, *(f"{each:.3f}" for each in row["bins"]), f"{row['fall']:.3f}", *rates])
    head = ["set", "aspect", "images", "accuracy", "mean confidence", "least sure fifth", "2", "3", "4", "surest fifth"]
    return lines([*head, "largest fall", "AUROC", "AUROC of −distance"], cells)


def outliers(twins: list[dict], photographs: list[dict]) -> str:
    """Means over the other subjects, of each set."""
    cells = []
    for difficulty in (0, 2):
        for name in dict.fromkeys(row["set"] for row in twins):
            own = [row for row in twins if (row["set"], row["difficulty"]) == (name, difficulty)]
            means = [float(np.mean([row[key] for row in own])) for key in ("found", "flagged", "falsely")]
            least = min(own, key=lambda row: row["found"])
            worst = f"{least['found']:.2f} ({least['strangers']})"
            cells.append([f"{name}, {'hard' if difficulty else 'easy'}", *(f"{each:.3f}" for each in means), worst])
    for row in photographs:
        means = [f"{row[key]:.3f}" for key in ("found", "flagged", "falsely")]
        cells.append([row["set"], *means, f"{row['found']:.2f} ({row['strangers']})"])
    return lines(["set", "found at 5% false alarms", "marked", "falsely marked", "worst strangers"], cells)
