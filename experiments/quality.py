"""The default recipe against everything that the same frozen encoder gives: rivals, word lists, paired intervals.

    python -m experiments.quality --out=experiments/results/quality
    python -m experiments.quality --data=FOLDER --clip=openai/clip-vit-base-patch32 --out=quality_real

Rivals, on the same embeddings, with the same number of groups and the same ten k-means seeds: k-means on the image
embeddings, CLIP_GPT (zero-shot argmax), CRL, the paper's and the released recipe, Multi-Sub's representation, and the
image in the span of the prompts. Word lists: see `protocols`. Identity, which has no words, is left out.

Writes quality.csv, quality.json and quality.md; a run that was stopped goes on where it was. Intervals are 95% of a
bootstrap over images (the same resamples for every method, so that differences are paired); each NMI is a mean over the
k-means seeds and the sets drawn. Aspects that the encoder does not see (no method reaches an NMI of .15 under any word
list) are reported apart. Drawn sets begin at --first_seed; seeds below 1000 were for choosing the recipe.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

import multimap_jax as mm
from experiments import datasets, methods, protocols
from experiments.benchmarking import dated, table
from experiments.case import SEEDS, Case, labellings, make_case
from experiments.kept import Runs, code_digest
from experiments.released_eval import pool_images
from multimap_jax.compilation import use_compilation_cache
from multimap_jax.machine import machine

FLAGS = flags.FLAGS
PUBLISHED = ("image k-means", "CLIP_GPT", "CRL", "Multi-MaP", "Multi-MaP released", "Multi-Sub")
RIVALS = (*PUBLISHED, "image in span")
ABLATION = ("default: axes", "default: axes and round groups", "default: proxies")
METHODS = {name: name for name in (*RIVALS, *ABLATION)} | {"Multi-MaP default": "default"}
COLUMNS = "encoder dataset aspect protocol method nmi nmi_low nmi_high ri accuracy".split()
SEEN = 0.15
RESAMPLES = 400


def define_flags() -> None:
    flags.DEFINE_string("out", "experiments/results/quality", "folder; a second run there goes on")
    flags.DEFINE_bool("quick", False, "60 images a set, one set of each kind, 100 steps of the paper's recipe")
    flags.DEFINE_string("data", None, "where real sets lie; without it their drawn twins")
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_integer("images_per_set", 300, "drawn pictures of each set", lower_bound=20)
    flags.DEFINE_integer("scene_seeds", 1, "sets drawn of each kind", lower_bound=1)
    flags.DEFINE_integer("first_seed", 1000, "of the drawn sets", lower_bound=0)
    flags.DEFINE_list("datasets", "aloi fruit fruit360 card cmuface cars flowers".split(), "which sets")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One method on one aspect under one word list. nmi, ri, accuracy: means. resampled: NMI [resamples]."""

    dataset: str
    aspect: str
    protocol: str
    method: str
    nmi: float
    ri: float
    accuracy: float
    resampled: np.ndarray

    @property
    def interval(self) -> tuple[float, float]:
        return tuple(np.quantile(self.resampled, (0.025, 0.975)))

    @property
    def place(self) -> tuple[str, str, str]:
        return self.dataset, self.aspect, self.protocol


def resampled_nmi(truth: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """NMI under weights [resamples, images] that say how often each image was drawn, [resamples]."""
    rows, columns = (np.unique(values, return_inverse=True)[1] for values in (truth, labels))
    shape = rows.max() + 1, columns.max() + 1
    joint = weights @ np.eye(shape[0] * shape[1])[rows * shape[1] + columns] / weights.sum(1, keepdims=True)
    joint = joint.reshape(-1, *shape)

    def entropy(p):
        return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)

    first, second = entropy(joint.sum(2)), entropy(joint.sum(1))
    shared = first + second - entropy(joint.reshape(len(joint), -1))
    mean = (first + second) / 2
    return np.where(mean > 1e-12, np.clip(shared / np.where(mean > 1e-12, mean, 1), 0, 1), 1.0)


def score(outcome: np.ndarray, case: Case, seed: int) -> dict:
    """Mean NMI, RI and accuracy over k-means seeds, and the NMI of every resample of the images."""
    labels = labellings(outcome, case)
    scores = [mm.evaluate(case.truth, each) for each in labels]
    images = len(case.truth)
    weights = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    resampled = np.mean([resampled_nmi(case.truth, each, weights) for each in labels], axis=0)
    means = {name: float(np.mean([each[name] for each in scores])) for name in ("nmi", "ri", "accuracy")}
    return means | {"resampled": resampled.round(4).tolist()}


def run_set(item: datasets.DataSet, clip: mm.Clip, runs: Runs) -> list[Cell]:
    """All cells of one data set; none, and a sentence, where its files are missing."""
    found: dict[tuple, list[dict]] = {}
    for seed in range(FLAGS.first_seed, FLAGS.first_seed + (1 if FLAGS.data or FLAGS.quick else FLAGS.scene_seeds)):
        images = 60 if FLAGS.quick else FLAGS.images_per_set
        try:
            labelled = datasets.load_or_draw(item.name, FLAGS.data, images, seed)
        except (FileNotFoundError, ValueError) as error:
            print(f"left out: {error}")
            return []
        case = None
        for aspect, protocol, words in asked(item, labelled, seed):
            for method, name in METHODS.items():
                place = (item.name, aspect, protocol, name)
                code = code_digest(methods.find(method), score, first_case, datasets.load_or_draw, item.subject, words)
                key = (clip.hash[:12], FLAGS.data or "twin", *place, images, paper_steps(), seed, code)
                if key not in runs.scores:
                    case = case or first_case(item, labelled, aspect, clip)
                    truth, names = labelled.labels[aspect], tuple(sorted(set(labelled.labels[aspect].tolist())))
                    contrast = tuple(other for other in item.aspects if other != aspect)
                    case = dataclasses.replace(
                        case, aspect=aspect, truth=truth, words=words, names=names, contrast=contrast
                    )
                    if not methods.applies(method, case):
                        continue
                    runs.add(key, score(methods.find(method)(case), case, seed))
                    print(f"{' '.join(place)}: NMI {runs.scores[key]['nmi']:.3f}", flush=True)
                found.setdefault(place, []).append(runs.scores[key])
    return [Cell(*place, *means(scores)) for place, scores in found.items()]


def asked(item: datasets.DataSet, labelled: datasets.Labelled, seed: int):
    """(aspect, protocol, words) of every cell: aspects with words, each under the protocols that apply."""
    for aspect in item.aspects:
        if aspect == "identity" or aspect not in labelled.labels:
            continue
        for protocol in protocols.PROTOCOLS:
            names = sorted(set(labelled.labels[aspect].tolist()))
            words = protocols.word_list(protocol, item.subject, aspect, names, seed)
            if words:
                yield aspect, protocol, words


def first_case(item, labelled, aspect: str, clip: mm.Clip) -> Case:
    """A case with the embeddings of a set in it; the rest is filled in for each cell."""
    config = mm.ProxyConfig.paper(steps=paper_steps(), block_size=methods.BLOCK)
    case = make_case(item, labelled, aspect, clip, clip.embed_images(labelled.images), config)
    return dataclasses.replace(case, pooled=pool_images(clip, labelled.images))


def paper_steps() -> int:
    """Adam steps of the paper's recipe."""
    return 100 if FLAGS.quick else 1000


def means(scores: Sequence[dict]) -> tuple:
    """Over the sets drawn: nmi, ri, accuracy, resampled nmi."""
    return *(float(np.mean([s[m] for s in scores])) for m in ("nmi", "ri", "accuracy")), np.mean(
        [s["resampled"] for s in scores], axis=0
    )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Mean NMI of each method over the cells of one protocol that the encoder sees, and what the goals compare.

    over_published, over_span: default's mean minus the best published rival's mean, and minus the image in span's.
    worse: cells where default is significantly worse than the best rival of that cell; better: the other way round.
    """

    protocol: str
    cells: int
    means: dict[str, float]
    best_published: str
    over_published: float
    over_span: float
    over_zero_shot: float
    worse: list[str]
    better: list[str]


def unseen(cells: Sequence[Cell]) -> set[tuple[str, str]]:
    """(data set, aspect) pairs where no method reaches SEEN under any protocol."""
    best: dict[tuple[str, str], float] = {}
    for cell in cells:
        best[cell.dataset, cell.aspect] = max(best.get((cell.dataset, cell.aspect), 0.0), cell.nmi)
    return {place for place, value in best.items() if value < SEEN}


def verdict(cells: Sequence[Cell], protocol: str) -> Verdict:
    """Of the cells of one protocol; those of unseen aspects are to be taken out before."""
    cells = [cell for cell in cells if cell.protocol == protocol]
    rows: dict[tuple, dict[str, Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.place, {})[cell.method] = cell
    average = {
        name: float(np.mean([row[name].nmi for row in rows.values() if name in row]))
        for name in METHODS.values()
        if any(name in row for row in rows.values())
    }
    worse, better = [], []
    for place, row in rows.items():
        rival = max((cell for name, cell in row.items() if name in RIVALS), key=lambda cell: cell.nmi)
        low, high = np.quantile(row["default"].resampled - rival.resampled, (0.025, 0.975))
        text = f"{place[0]} {place[1]} ({rival.method}, {row['default'].nmi:.3f} : {rival.nmi:.3f})"
        if high < 0:
            worse.append(text)
        if low > 0:
            better.append(text)
    best = max((name for name in PUBLISHED if name in average), key=average.get)
    ours = average["default"]
    over = ours - average[best], ours - average["image in span"], ours - average["CLIP_GPT"]
    return Verdict(protocol, len(rows), average, best, *over, worse, better)


def write(out: Path, encoder: str, source: str, cells: Sequence[Cell]) -> None:
    """quality.csv, quality.json and quality.md."""
    with (out / "quality.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for cell in cells:
            figures = cell.nmi, *cell.interval, cell.ri, cell.accuracy
            writer.writerow([encoder, *cell.place, cell.method, *(f"{value:.4f}" for value in figures)])
    hidden = unseen(cells)
    seen = [cell for cell in cells if (cell.dataset, cell.aspect) not in hidden]
    verdicts = [verdict(seen, name) for name in protocols.PROTOCOLS if any(c.protocol == name for c in seen)]
    content = dated(
        {
            "encoder": encoder,
            "source": source,
            "machine": machine(),
            "not_seen": sorted(" ".join(place) for place in hidden),
            "verdicts": [dataclasses.asdict(each) for each in verdicts],
        }
    )
    (out / "quality.json").write_text(json.dumps(content, indent=1) + "\n")
    (out / "quality.md").write_text(markdown(content, verdicts, seen, cells, hidden))
    print(f"written: {out / 'quality.csv'}, {out / 'quality.json'}, {out / 'quality.md'}")


def markdown(content: dict, verdicts: Sequence[Verdict], seen, cells, hidden) -> str:
    names = [name for name in (*RIVALS, "default") if any(cell.method == name for cell in cells)]
    means = [
        [f"**mean, {each.protocol}** ({each.cells} cells)", *(mean_text(each, name) for name in names)]
        for each in verdicts
    ]
    lines = [
        f"## quality: {content['source']}, encoder {content['encoder']}",
        "",
        f"NMI, means over {SEEDS} k-means seeds and the sets drawn; in brackets half the width of the 95% "
        "interval (bootstrap over images). `default` is this package's recipe. Bold: highest of the row.",
        "",
        *table(["", *names], means + table_rows(seen, names)),
    ]
    for each in verdicts:
        lines += ["", sentence(each)]
    lines += ["", "What each part of the default recipe adds (mean NMI):", "", *ablation_rows(verdicts)]
    if hidden:
        lines += ["", f"Not seen by this encoder (every method below {SEEN}):", ""]
        lines += table(
            ["", *names], table_rows([cell for cell in cells if (cell.dataset, cell.aspect) in hidden], names)
        )
    lines += ["", f"`{content['command']}`, {content['date']}, {content['machine']}."]
    return "\n".join(lines) + "\n"


def ablation_rows(verdicts: Sequence[Verdict]) -> list[str]:
    """One row a step of `fit_projection`, after the image in span and besides the proxies themselves."""
    steps = ("image in span", *ABLATION[:2], "default", ABLATION[2])
    rows = [[name, *(mean_text(each, name) for each in verdicts)] for name in steps]
    return table(["", *(each.protocol for each in verdicts)], rows)


def mean_text(verdict: Verdict, method: str) -> str:
    return f"{verdict.means[method]:.3f}" if method in verdict.means else "–"


def table_rows(cells: Sequence[Cell], names: Sequence[str]) -> list[list[str]]:
    rows: dict[tuple, dict[str, Cell]] = {}
    for cell in sorted(cells, key=lambda cell: protocols.PROTOCOLS.index(cell.protocol)):
        rows.setdefault(cell.place, {})[cell.method] = cell
    lines = []
    for (dataset, aspect, protocol), row in rows.items():
        best = max(cell.nmi for cell in row.values())
        texts = []
        for name in names:
            text = "–"
            if name in row:
                low, high = row[name].interval
                text = f"{row[name].nmi:.3f} (±{(high - low) / 2:.3f})"
                text = f"**{text}**" if row[name].nmi > best - 5e-4 else text
            texts.append(text)
        lines.append([f"{datasets.find(dataset).title} {aspect}, {protocol}", *texts])
    return lines


def sentence(each: Verdict) -> str:
    text = (
        f"{each.protocol}: default is {each.over_published:+.3f} from the best published rival's mean "
        f"({each.best_published}), {each.over_span:+.3f} from image in span, {each.over_zero_shot:+.3f} from CLIP_GPT."
    )
    text += f" Significantly worse than the best rival of the cell in {len(each.worse)} of {each.cells} cells"
    text += (": " + ", ".join(each.worse) if each.worse else "") + f"; significantly better in {len(each.better)}"
    return text + (": " + ", ".join(each.better) if each.better else "") + "."


def main(_):
    use_compilation_cache()
    try:
        items, clip = [datasets.find(each) for each in FLAGS.datasets], mm.load_clip(FLAGS.clip)
    except (ValueError, OSError) as error:
        sys.exit(f"quality: {error}")
    out, cells = Path(FLAGS.out), []
    runs = Runs(out / "runs.jsonl")
    for item in items:
        cells += run_set(item, clip, runs)
    if not cells:
        raise app.UsageError(f"no data set could be run; looked for {', '.join(FLAGS.datasets)} in {FLAGS.data}")
    source = f"the pictures in {Path(FLAGS.data).name}" if FLAGS.data else "drawn twins"
    write(out, clip.name, source, cells)


if __name__ == "__main__":
    define_flags()
    app.run(main)
