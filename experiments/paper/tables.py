"""What table2.py, table3.py and table4.py share: cells that are computed once and kept, intervals, csv and markdown."""

from __future__ import annotations

import csv
import dataclasses
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from absl import flags

import multimap_jax as mm
from experiments.baselines.process import NotRunError
from experiments.benchmarks.measuring import code_version, command_line, table
from experiments.evaluation import datasets, methods
from experiments.evaluation import significance as compare
from experiments.evaluation import whole_sets as set_cells
from experiments.evaluation.case import SEEDS, Case, make_case, rate
from experiments.evaluation.datasets import DIFFICULTY
from experiments.evaluation.score_cache import Runs, code_digest
from experiments.paper import grid
from multimap_jax.encoders.load import load_clip
from multimap_jax.runs.messages import count
from multimap_jax.runtime.compilation import use_compilation_cache
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
PAPER = Path(__file__).parent
COSTS = (
    "Methods that group a whole set answer an aspect by that of their clusterings which matches it best, found with "
    "the true labels: an advantage over the others. Their seconds and memory are those of a whole process. The others' "
    "seconds are within this program, all aspects of a set together, scoring included (some tenths each), but not the "
    "embedding of the images, nor for Multi-MaP the search for its learning rate and weight decay.",
    "",
)
COLUMNS = "dataset aspect method images nmi nmi_low nmi_high ri paper_nmi paper_ri".split()


def define_flags(out: str) -> None:
    flags.DEFINE_string("out", out, "folder for runs.jsonl, the csv and the markdown; a second run there goes on")
    flags.DEFINE_bool("quick", False, "60 images a set, one scene seed, 100 steps: to see that it works")
    flags.DEFINE_string("data", None, "where the real sets lie; without it their drawn twins")
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_integer("images_per_set", 300, "drawn pictures of each set")
    flags.DEFINE_integer("scene_seeds", 1, "sets drawn of each kind")
    flags.DEFINE_integer("first_seed", 1000, "of the drawn sets", lower_bound=0)
    flags.DEFINE_integer("difficulty", DIFFICULTY, "of the drawn pictures", lower_bound=0, upper_bound=3)
    flags.DEFINE_enum("half", "report", datasets.HALVES, "of sets that have halves")
    flags.DEFINE_integer("steps", 1000, "Adam steps of the paper's recipe")
    flags.DEFINE_list("datasets", "aloi fruit fruit360 card cmuface cars flowers".split(), "which sets")
    flags.DEFINE_list("methods", None, "instead of the table's own")
    flags.DEFINE_integer("most_images", 600, "of a real set, drawn from all; 0 for all", lower_bound=0)
    flags.DEFINE_float("minutes", None, "no further cell is begun after these; a second run goes on")
    flags.DEFINE_float("rival_seconds", 120.0, "limit for a method that groups a whole set")
    flags.DEFINE_bool("full_epochs", False, "of those methods: as many as their papers have")


@dataclasses.dataclass(frozen=True)
class Cell:
    """nmi, ri: means over k-means seeds and scene seeds. resampled: NMI [resamples], empty where nothing could be run.
    images: of one set."""

    dataset: str
    aspect: str
    method: str
    images: int
    nmi: float
    ri: float
    resampled: np.ndarray


def run_table(name: str, default_methods: Sequence[str], paper_csv: str) -> None:
    """Computes what is missing of the cells, then writes NAME.csv and NAME.md into --out."""
    names = FLAGS.methods or list(default_methods)
    use_compilation_cache()
    end = time.monotonic() + 60 * FLAGS.minutes if FLAGS.minutes else float("inf")
    try:
        for method in set_cells.split(names)[0]:
            methods.find(method)
        items, clip = [datasets.find(each) for each in FLAGS.datasets], load_clip(FLAGS.clip)
    except (ValueError, OSError) as error:
        sys.exit(f"{name}: {error}")
    out, cells, costs = Path(FLAGS.out), [], {}
    runs = Runs(out / "runs.jsonl")
    for item in items:
        found, cost = run_set(item, names, clip, runs, end)
        cells += found
        costs |= cost
    paper = read_paper(PAPER / paper_csv)
    write_csv(out / f"{name}.csv", cells, paper)
    source = f"drawn twins of difficulty {FLAGS.difficulty}, not the paper's pictures"
    source = f"the pictures in {Path(FLAGS.data).name}" if FLAGS.data else source
    (out / f"{name}.md").write_text(markdown(name, cells, costs, paper, source, clip.name))
    print(f"written: {out / f'{name}.csv'}, {out / f'{name}.md'}")


def run_set(
    item: datasets.DataSet, names: Sequence[str], clip: mm.Clip, runs: Runs, end: float
) -> tuple[list[Cell], dict[tuple[str, str], dict[str, dict]]]:
    """All cells of one data set, and the records of a method by aspect; empty ones, and a sentence, where its files are
    missing."""
    images, seeds = (60, 1) if FLAGS.quick else (FLAGS.images_per_set, FLAGS.scene_seeds)
    images = FLAGS.most_images if FLAGS.data else images
    steps, found = 100 if FLAGS.quick else FLAGS.steps, {}
    costs: dict[tuple[str, str], dict[str, dict]] = {(item.title, name): {} for name in names}
    for seed in range(FLAGS.first_seed, FLAGS.first_seed + (1 if FLAGS.data else seeds)):

        def key(aspect, method, seed=seed):
            code = cell_code(item, aspect, method)
            source = (FLAGS.data, FLAGS.half) if FLAGS.data else ("twin", FLAGS.difficulty)
            length = "full" if FLAGS.full_epochs and method in set_cells.METHODS else steps
            return (clip.hash[:12], *source, item.name, aspect, method, images, length, seed, code)

        alone, whole = set_cells.split(names)
        wanted = [(aspect, method) for aspect in item.aspects for method in alone] + [("all", name) for name in whole]
        if not all(key(*cell) in runs.scores for cell in wanted):
            try:
                labelled = datasets.load_or_draw(item.name, FLAGS.data, images, seed, FLAGS.difficulty, FLAGS.half)
            except (FileNotFoundError, ValueError) as error:
                print(f"left empty: {error}")
                break
            if labelled.note:
                print(labelled.note)
            labelled = datasets.at_most(labelled, images, seed) if images else labelled
            compute(item, labelled, wanted, key, clip, steps, seed, runs, end)
        for aspect, method in wanted:
            record = runs.scores.get(key(aspect, method))
            if record is None:
                continue
            for each, scores in record["aspects"].items() if aspect == "all" else [(aspect, record)]:
                found.setdefault((each, method), []).append(scores)
            costs[item.title, method][aspect] = record
    cells = [
        make_cell(item.name, aspect, method, found.get((aspect, method), []))
        for aspect in item.aspects
        for method in names
    ]
    return cells, costs


def make_cell(dataset: str, aspect: str, method: str, runs: Sequence[dict]) -> Cell:
    """The mean over the sets drawn."""
    if not runs:
        return Cell(dataset, aspect, method, 0, np.nan, np.nan, np.zeros(0))
    means = [float(np.mean([run[name] for run in runs])) for name in ("nmi", "ri")]
    return Cell(dataset, aspect, method, runs[0]["images"], *means, np.mean([run["resampled"] for run in runs], axis=0))


def cell_code(item: datasets.DataSet, aspect: str, method: str) -> str:
    """Digest of all that makes a cell's scores; "grid" is no method, but what chooses the numbers of some."""
    if method in set_cells.METHODS:
        return code_digest(set_cells.METHODS[method], set_cells.run_cell, set_cells.make_task, datasets.load_or_draw)
    made_by, facts = [] if method == "grid" else [methods.find(method)], item.aspects[aspect]
    return code_digest(*made_by, compute_one, datasets.load_or_draw, item.subject, facts.labels, facts.words)


def compute(item, labelled, wanted, key, clip: mm.Clip, steps: int, seed: int, runs: Runs, end: float) -> None:
    """Runs the cells that are not there yet, until the time `end`; every one is kept as soon as it is done."""
    embeddings, task = clip.embed_images(labelled.images), None
    for aspect, method in wanted:
        if key(aspect, method) in runs.scores or aspect not in (*labelled.labels, "all"):
            continue
        if time.monotonic() > end:
            print(f"left for a second run, as the time is over: {item.title} {aspect}, {method}")
            continue
        if aspect == "all":
            task = task or set_cells.make_task(labelled, clip, embeddings, FLAGS.full_epochs)
            compute_whole(item, labelled, method, key(aspect, method), task, seed, runs)
        else:
            compute_one(item, labelled, aspect, method, key, clip, embeddings, steps, seed, runs)


def compute_whole(item, labelled, method: str, key: tuple, task, seed: int, runs: Runs) -> None:
    """Runs the cell of a method that groups the whole set."""
    try:
        runs.add(key, set_cells.run_cell(method, task, labelled, seed, FLAGS.rival_seconds))
    except NotRunError as error:
        print(f"left empty: {item.title}, {error}", flush=True)
        return
    said = ", ".join(f"{aspect} {scores['nmi']:.3f}" for aspect, scores in runs.scores[key]["aspects"].items())
    print(f"{item.title}, {method}: NMI {said}; {runs.scores[key]['seconds']:.0f} s", flush=True)


def compute_one(item, labelled, aspect, method, key, clip, embeddings, steps: int, seed: int, runs: Runs) -> None:
    """Runs the cell of a method that answers one aspect, if it applies."""
    config = mm.ProxyConfig.paper(steps=steps, block_size=methods.BLOCK)
    case = make_case(item, labelled, aspect, clip, embeddings, config)
    if method.startswith("Multi-MaP") and method not in ("Multi-MaP released", "Multi-MaP default"):
        case = dataclasses.replace(case, config=chosen_config(case, key(aspect, "grid", 0), runs))
    if methods.applies(method, case):
        begin = time.perf_counter()
        record = rate(methods.find(method)(case), case, seed)
        runs.add(key(aspect, method), record | {"seconds": time.perf_counter() - begin, "note": ""})
        print(f"{item.title} {aspect}, {method}: NMI {record['nmi']:.3f}", flush=True)


def chosen_config(case: Case, key: tuple, runs: Runs) -> mm.ProxyConfig:
    """Learning rate and weight decay with the lowest total loss at the recipe's fixed loss weights."""
    if key not in runs.scores:
        losses = grid.grid_losses(case, grid.RATES_AND_DECAYS, min(200, int(case.config.steps)))
        rate, decay = grid.RATES_AND_DECAYS[int(np.nanargmin(losses))]
        runs.add(key, {"learning_rate": rate, "weight_decay": decay, "losses": losses.tolist()})
    best = runs.scores[key]
    return dataclasses.replace(case.config, learning_rate=best["learning_rate"], weight_decay=best["weight_decay"])


def significantly_best(rows: Sequence[Sequence[Cell]]) -> list[str | None]:
    """Of every row the method with the highest NMI, if it is significantly above each other one, all rows corrected for
    their number; None else."""
    best, p = [], []
    for row in rows:
        row = sorted((cell for cell in row if len(cell.resampled)), key=lambda cell: -cell.nmi)
        best.append(row[0].method if row else None)
        pairs = [(row[0].nmi - other.nmi, row[0].resampled - other.resampled) for other in row[1:]]
        p.append(max((compare.p_value(*pair) for pair in pairs), default=1.0))
    return [method if significant else None for method, significant in zip(best, compare.holm(p))]


def visible(rows: Sequence[Sequence[Cell]]) -> float:
    """The difference between the two best methods of a row that would be found in four cases of five: median over the
    rows where these two are not the same groups."""
    ranked = [sorted((cell for cell in row if len(cell.resampled)), key=lambda cell: -cell.nmi) for row in rows]
    errors = [np.std(row[0].resampled - row[1].resampled) for row in ranked if len(row) > 1]
    errors = [error for error in errors if error > 0]
    return compare.VISIBLE * float(np.median(errors)) if errors else float("nan")


def read_paper(path: Path) -> dict[tuple[str, str, str], tuple[float, float]]:
    """{(title, aspect, method): (nmi, ri)}."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        return {(r["dataset"], r["aspect"], r["method"]): (float(r["nmi"]), float(r["ri"])) for r in rows}


def write_csv(path: Path, cells: Sequence[Cell], paper: dict) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for cell in cells:
            theirs = paper.get((datasets.find(cell.dataset).title, cell.aspect, cell.method), ("", ""))
            ours = [""] * 5
            if len(cell.resampled):
                figures = [cell.nmi, *compare.interval(cell.nmi, cell.resampled), cell.ri]
                ours = [cell.images, *(f"{value:.6f}" for value in figures)]
            writer.writerow([cell.dataset, cell.aspect, cell.method, *ours, *theirs])


def markdown(name: str, cells: Sequence[Cell], costs: dict, paper: dict, source: str, clip: str) -> str:
    """One row an aspect and one for the mean, one column a method: NMI / RI, the paper's in brackets; then, where
    methods for whole sets are among them, what each cost."""
    columns = list(dict.fromkeys(cell.method for cell in cells))
    places = list(dict.fromkeys((cell.dataset, cell.aspect) for cell in cells))
    rows = [[cell for cell in cells if (cell.dataset, cell.aspect) == place] for place in places]
    lines = []
    for (dataset, aspect), row, best in zip(places, rows, significantly_best(rows)):
        title = datasets.find(dataset).title
        texts = [cell_text(cell, paper.get((title, aspect, cell.method)), cell.method == best) for cell in row]
        lines.append([title, aspect, f"{max(cell.images for cell in row):,}", *texts])
    lines.append(["mean", "", "", *(mean_text(column, paper) for column in zip(*rows))])
    text = [
        f"NMI / RI. Means over {SEEDS} k-means seeds"
        + ("" if FLAGS.data else f" and {count(FLAGS.scene_seeds, 'set')} drawn")
        + "; 95% intervals over images are in the csv. Bold: highest NMI, significantly so (paired bootstrap over "
        f"images, Holm's correction over rows). Between the two best of a row a difference of {visible(rows):.3f} "
        "would have been seen in four cases of five. In brackets: the paper's figures, on the real pictures with "
        "ViT-B/32.",
        "",
        *table(["data set", "aspect", "images", *columns], lines),
        "",
        *([*COSTS, *set_cells.cost_table(costs), ""] if set_cells.split(columns)[1] else []),
        f"`{command_line()}`, {date.today().isoformat()}, {machine()}, {code_version()}.",
    ]
    return f"## {name}: {source}, encoder {clip}\n\n" + "\n".join(text) + "\n"


def mean_text(column: Sequence[Cell], paper: dict) -> str:
    """Of a method's cells; ours where none is empty, the paper's where it has all."""
    nmi, ri = np.mean([(cell.nmi, cell.ri) for cell in column], axis=0)
    theirs = [paper.get((datasets.find(cell.dataset).title, cell.aspect, cell.method)) for cell in column]
    mean = Cell("mean", "", column[0].method, 0, nmi, ri, np.zeros(int(np.isfinite(nmi))))
    return cell_text(mean, None if None in theirs else tuple(np.mean(theirs, axis=0)), bold=False)


def cell_text(cell: Cell, theirs: tuple[float, float] | None, bold: bool) -> str:
    ours = f"{cell.nmi:.3f} / {cell.ri:.3f}" if len(cell.resampled) else "–"
    ours = f"**{ours}**" if bold else ours
    return ours if theirs is None else f"{ours} ({theirs[0]:.3f} / {theirs[1]:.3f})"
