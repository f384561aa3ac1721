"""The default recipe against everything that the same frozen encoder gives: baselines, word lists, paired intervals.

    python -m experiments.evaluation.quality --out=experiments/results/quality
    python -m experiments.evaluation.quality --data=FOLDER --clip=openai/clip-vit-base-patch32 --out=quality_real

Baselines, on the same embeddings, with the same number of groups and the same ten k-means seeds: see `methods`. Word
lists: see `protocols`. Identity, whose values are no words, is left out. Drawn sets are those of one difficulty: the
lowest at which zero-shot with the true words has a mean NMI between .5 and .8 over the aspects (see `difficulty`).

For choosing a recipe: drawn sets of seeds below 1000 and the half "choose" of a set that has halves. For reporting:
seeds from 1000 on and the half "report", which are what this program takes if nothing else is said. --quick is a small
trial, --datasets=fruit,card and --aspects=color limit what is compared; --helpfull lists all flags.

Writes quality.csv, quality.json and quality.md; a run that was stopped goes on where it was. Intervals are 95% of a
bootstrap over images, the same resamples for every method, so that differences are paired; each NMI is a mean over the
k-means seeds and the sets drawn. Two methods differ in a cell where the difference is large against its standard error
over the resamples, at 5% after Holm's correction over all cells. Aspects that the encoder does not see (no method
reaches an NMI of .15 under any word list) are reported apart.
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
from experiments.benchmarks.measuring import dated, table
from experiments.evaluation import datasets, methods
from experiments.evaluation import significance as compare
from experiments.evaluation import word_lists as protocols
from experiments.evaluation.case import SEEDS, Case, make_case, rate
from experiments.evaluation.image_proxies import KINDS
from experiments.evaluation.score_cache import Runs, code_digest
from experiments.paper.released_eval import pool_images
from multimap_jax.runtime.compilation import use_compilation_cache
from multimap_jax.runtime.machine import machine

FLAGS = flags.FLAGS
PUBLISHED = (
    "image k-means", "CLIP_GPT", "CRL", "OD-CRL", "TGAICC", "Multi-MaP", "Multi-MaP released", "Multi-Sub",
)  # fmt: skip
RIVALS = (*PUBLISHED, "most picked", "image in span")
ABLATION = ("default: words", "default: round groups", "default: groups of images", "default: started anywhere", *KINDS)
METHODS = {name: name for name in (*RIVALS, *ABLATION)} | {"Multi-MaP default": "default"}
COLUMNS = "encoder dataset aspect protocol method nmi nmi_low nmi_high ri accuracy".split()
SEEN = 0.15


def define_flags() -> None:
    flags.DEFINE_string("out", "experiments/results/quality", "folder; a second run there goes on")
    flags.DEFINE_bool("quick", False, "60 images a set, one set of each kind, 100 steps of the paper's recipe")
    flags.DEFINE_string("data", None, "where real sets lie; without it their drawn twins")
    flags.DEFINE_string("clip", "embedded", "checkpoint")
    flags.DEFINE_integer("images_per_set", 300, "drawn pictures of each set", lower_bound=20)
    flags.DEFINE_integer("scene_seeds", 1, "sets drawn of each kind", lower_bound=1)
    flags.DEFINE_integer("first_seed", 1000, "of the drawn sets", lower_bound=0)
    flags.DEFINE_integer("difficulty", datasets.DIFFICULTY, "of the drawn pictures", lower_bound=0, upper_bound=3)
    flags.DEFINE_enum("half", "report", datasets.HALVES, "of sets that have halves")
    flags.DEFINE_list("aspects", None, "which aspects; all if not given")
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
        return compare.interval(self.nmi, self.resampled)

    @property
    def place(self) -> tuple[str, str, str]:
        return self.dataset, self.aspect, self.protocol


def run_set(item: datasets.DataSet, clip: mm.Clip, runs: Runs) -> tuple[list[Cell], int]:
    """(all cells of one data set, its images); none, and a sentence, where its files are missing."""
    found: dict[tuple, list[dict]] = {}
    for seed in range(FLAGS.first_seed, FLAGS.first_seed + (1 if FLAGS.data or FLAGS.quick else FLAGS.scene_seeds)):
        images = 60 if FLAGS.quick else FLAGS.images_per_set
        try:
            labelled = datasets.load_or_draw(item.name, FLAGS.data, images, seed, FLAGS.difficulty, FLAGS.half)
        except (FileNotFoundError, ValueError) as error:
            print(f"left out: {error}")
            return [], 0
        case, lists = None, list(asked(item, labelled, seed))
        for aspect, protocol, words in lists:
            if aspect not in (FLAGS.aspects or item.aspects):
                continue
            others = tuple((each, given) for each, same, given in lists if each != aspect and same == protocol)
            made_by = rate, first_case, datasets.load_or_draw, item.subject, words, others
            for method, name in METHODS.items():
                place = (item.name, aspect, protocol, name)
                code = code_digest(methods.find(method), *made_by)
                source = (FLAGS.data, FLAGS.half) if FLAGS.data else ("twin", FLAGS.difficulty)
                key = (clip.hash[:12], *source, *place, images, paper_steps(), seed, code)
                if key not in runs.scores:
                    case = case or first_case(item, labelled, aspect, clip)
                    truth, names = labelled.labels[aspect], tuple(sorted(set(labelled.labels[aspect].tolist())))
                    contrast = tuple(other for other in item.aspects if other != aspect)
                    case = dataclasses.replace(
                        case, aspect=aspect, truth=truth, words=words, names=names, contrast=contrast,
                        others=tuple(mm.Aspect(each, item.subject, given) for each, given in others),
                    )  # fmt: skip
                    if not methods.applies(method, case):
                        continue
                    runs.add(key, rate(methods.find(method)(case), case, seed))
                    print(f"{' '.join(place)}: NMI {runs.scores[key]['nmi']:.3f}", flush=True)
                found.setdefault(place, []).append(runs.scores[key])
    return [Cell(*place, *means(scores)) for place, scores in found.items()], len(labelled.images)


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
class Mean:
    """Mean NMI over cells, its 95% interval, and in how many cells a method is significantly better and worse than the
    default; for the default itself: than the best baseline of the cell."""

    nmi: float
    low: float
    high: float
    better: int = 0
    worse: int = 0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One protocol, over the cells that the encoder sees.

    means: by method. over_published, over_span, over_zero_shot: default's mean minus the best published baseline's, the
    image in span's, CLIP_GPT's. worse, better: cells where the default differs significantly from their best baseline.
    visible: the difference between these two that would have been found in four cases of five, median over cells.
    paper_gain: the paper's recipe's mean minus CLIP_GPT's, with its 95% interval; () where either was not run.
    """

    protocol: str
    cells: int
    means: dict[str, Mean]
    best_published: str
    over_published: float
    over_span: float
    over_zero_shot: float
    worse: list[str]
    better: list[str]
    visible: float
    paper_gain: tuple[float, ...] = ()


def unseen(cells: Sequence[Cell]) -> set[tuple[str, str]]:
    """(data set, aspect) pairs where no method reaches SEEN under any protocol."""
    best: dict[tuple[str, str], float] = {}
    for cell in cells:
        best[cell.dataset, cell.aspect] = max(best.get((cell.dataset, cell.aspect), 0.0), cell.nmi)
    return {place for place, value in best.items() if value < SEEN}


def rows_of(cells: Sequence[Cell]) -> dict[tuple, dict[str, Cell]]:
    """{place: {method: cell}}."""
    rows: dict[tuple, dict[str, Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.place, {})[cell.method] = cell
    return rows


def minus(first: Cell, second: Cell) -> Cell:
    """The difference of two methods in one cell, over the same resamples."""
    return dataclasses.replace(first, nmi=first.nmi - second.nmi, resampled=first.resampled - second.resampled)


def signs(pairs: Sequence[tuple[Cell, Cell]]) -> list[int]:
    """Of each pair: 1 where the first is significantly better, -1 where worse, 0 else; Holm's correction over all."""
    found = [minus(*pair) for pair in pairs]
    significant = compare.holm([compare.p_value(each.nmi, each.resampled) for each in found])
    return [int(np.sign(each.nmi)) * counts for each, counts in zip(found, significant)]


def best_rival(row: dict[str, Cell]) -> Cell:
    return max((cell for name, cell in row.items() if name in RIVALS), key=lambda cell: cell.nmi)


def verdicts_of(cells: Sequence[Cell]) -> list[Verdict]:
    """One a protocol; cells of unseen aspects are to be taken out before."""
    rows = rows_of(cells)
    names = [name for name in METHODS.values() if all(name in row for row in rows.values())]
    against = {name: signs([(row[name], row["default"]) for row in rows.values()]) for name in names}
    against["default"] = signs([(row["default"], best_rival(row)) for row in rows.values()])
    places = list(rows)
    return [
        verdict({place: rows[place] for place in places if place[2] == protocol}, protocol, names, against, places)
        for protocol in protocols.PROTOCOLS
        if any(place[2] == protocol for place in places)
    ]


def verdict(rows: dict, protocol: str, names: Sequence[str], against: dict, places: list) -> Verdict:
    """Of the cells of one protocol. against: what `signs` found, by method, for all `places`."""
    here = [i for i, place in enumerate(places) if place in rows]
    means = {}
    for name in names:
        found = [against[name][i] for i in here]
        means[name] = Mean(*mean_and_interval([row[name] for row in rows.values()]), found.count(1), found.count(-1))
    differing: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for i in here:
        ours, baseline = rows[places[i]]["default"], best_rival(rows[places[i]])
        text = f"{places[i][0]} {places[i][1]} ({baseline.method}, {ours.nmi:.3f} : {baseline.nmi:.3f})"
        differing[against["default"][i]].append(text)
    best = max((name for name in PUBLISHED if name in means), key=lambda name: means[name].nmi)
    over = [means["default"].nmi - means[name].nmi for name in (best, "image in span", "CLIP_GPT")]
    errors = [np.std(minus(row["default"], best_rival(row)).resampled) for row in rows.values()]
    visible = compare.VISIBLE * float(np.median(errors))
    gain = ()
    if {"Multi-MaP", "CLIP_GPT"} <= set(means):
        gain = mean_and_interval([minus(row["Multi-MaP"], row["CLIP_GPT"]) for row in rows.values()])
    return Verdict(protocol, len(rows), means, best, *over, differing[-1], differing[1], visible, gain)


def mean_and_interval(cells: Sequence[Cell]) -> tuple[float, float, float]:
    """Mean NMI of cells and its 95% interval."""
    resampled = np.mean([cell.resampled for cell in cells], axis=0)
    mean = float(np.mean([cell.nmi for cell in cells]))
    return mean, *compare.interval(mean, resampled)


def write(out: Path, encoder: str, source: str, images: dict[str, int], cells: Sequence[Cell]) -> None:
    """quality.csv, quality.json and quality.md."""
    with (out / "quality.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for cell in cells:
            figures = cell.nmi, *cell.interval, cell.ri, cell.accuracy
            writer.writerow([encoder, *cell.place, cell.method, *(f"{value:.4f}" for value in figures)])
    hidden = unseen(cells)
    seen = [cell for cell in cells if (cell.dataset, cell.aspect) not in hidden]
    verdicts = verdicts_of(seen)
    content = dated(
        {
            "encoder": encoder,
            "source": source,
            "images": ", ".join(f"{name} {number:,}" for name, number in images.items()),
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
        f"NMI, means over {SEEDS} k-means seeds and the sets drawn; in brackets half the width of the 95% interval "
        f"(bootstrap over images). Images: {content['images']}. `default` is this package's recipe, `most picked` "
        "zero-shot over as many words as there are groups, those that most images pick. Every method but CLIP_GPT gets "
        "the true number of groups; CLIP_GPT makes up to one for each word. Bold: highest of the row.",
        "",
        *table(["", *names], means + table_rows(seen, names)),
    ]
    for each in verdicts:
        lines += ["", sentence(each)]
    lines += ["", "What each part of the default recipe gives alone, and proxies of images (mean NMI):", ""]
    lines += ablation_rows(verdicts)
    if hidden:
        lines += ["", f"Not seen by this encoder (every method below {SEEN}):", ""]
        lines += table(
            ["", *names], table_rows([cell for cell in cells if (cell.dataset, cell.aspect) in hidden], names)
        )
    lines += ["", f"`{content['command']}`, {content['date']}, {content['machine']}."]
    return "\n".join(lines) + "\n"


def ablation_rows(verdicts: Sequence[Verdict]) -> list[str]:
    """One row a part of `fit_span`, the default, and the kinds of proxies of images."""
    rows = [
        [name, *(mean_text(each, name) for each in verdicts)]
        for name in ("default", "image in span", *ABLATION)
        if any(name in each.means for each in verdicts)
    ]
    return table(["", *(each.protocol for each in verdicts)], rows)


def mean_text(verdict: Verdict, method: str) -> str:
    if method not in verdict.means:
        return "–"
    found = verdict.means[method]
    return f"{found.nmi:.3f} (±{(found.high - found.low) / 2:.3f})"


def table_rows(cells: Sequence[Cell], names: Sequence[str]) -> list[list[str]]:
    lines = []
    ordered = sorted(cells, key=lambda cell: protocols.PROTOCOLS.index(cell.protocol))
    for (dataset, aspect, protocol), row in rows_of(ordered).items():
        best = max(cell.nmi for name, cell in row.items() if name in names)
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
        f"{each.protocol}: default is {each.over_published:+.3f} from the best published baseline's mean "
        f"({each.best_published}), {each.over_span:+.3f} from image in span, {each.over_zero_shot:+.3f} from CLIP_GPT."
    )
    text += f" Significantly worse than the best baseline of the cell in {len(each.worse)} of {each.cells} cells"
    text += (": " + ", ".join(each.worse) if each.worse else "") + f"; significantly better in {len(each.better)}"
    text += ": " + ", ".join(each.better) if each.better else ""
    return text + f". A difference of {each.visible:.3f} in a cell would have been seen in four cases of five."


def main(_):
    use_compilation_cache()
    try:
        items, clip = [datasets.find(each) for each in FLAGS.datasets], mm.load_clip(FLAGS.clip)
    except (ValueError, OSError) as error:
        sys.exit(f"quality: {error}")
    out, cells, images = Path(FLAGS.out), [], {}
    runs = Runs(out / "runs.jsonl")
    for item in items:
        found, number = run_set(item, clip, runs)
        cells += found
        images |= {item.title: number} if found else {}
    if not cells:
        raise app.UsageError(f"no data set could be run; looked for {', '.join(FLAGS.datasets)} in {FLAGS.data}")
    source = f"drawn twins of difficulty {FLAGS.difficulty}"
    if FLAGS.data:
        source = f"the pictures in {Path(FLAGS.data).name}" + (
            f" ({FLAGS.half})" if "fashion" in FLAGS.datasets else ""
        )
    write(out, clip.name, source, images, cells)


if __name__ == "__main__":
    define_flags()
    app.run(main)
