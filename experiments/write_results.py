"""Writes RESULTS.md, and a page for each measurement beside it, from what lies under experiments/results/.

    python -m experiments.write_results

RESULTS.md opens with what was compared on the sets that are for reporting only (`quality` on drawn twins and on
product photographs), reads it (results/reading.md, written by hand), and leads to every table.
"""

from __future__ import annotations

import collections
import csv
import json
from pathlib import Path

import numpy as np
from absl import app

from experiments.accelerator.page import accelerator_table
from experiments.benchmarks.measuring import lines, source
from experiments.calibration.model_selection_page import number_table

FOLDER = Path(__file__).parent
INTRODUCTION = """# Results

Made by `python -m experiments.write_results` from what the programs wrote. Nothing is claimed for a data set that it
was not run on. *Products* are 875 product photographs of a catalogue that took no part in choosing anything, seen by a
small CLIP trained on others of its kind; neither comes with this package. *Twins* are drawings of this package in the
place of the paper's seven sets, hard ones (small, cluttered, partly hidden, badly lit) that the embedded checkpoint was
not trained on, of a seed that took no part either.
"""
# Kinds of groups that `look` compares.
LOOKED = {
    "answer": "groups by answers, with the true words",
    "answer, number": "with their number",
    "answer, auto": "with neither",
    "answer+image": "k-means on answers and image embeddings side by side, for comparison",
    "default": "the default features, without answers",
    "zero_shot": "the nearest word",
}
WRONG = 12  # pairs of a wrong name and the true one that a page lists
# Columns of the opening table: what `quality` wrote for reporting.
REPORTED = {"quality_fashion": "products", "quality": "twins"}


def pages(folder: Path) -> dict[Path, str]:
    """RESULTS.md and a page for each measurement below `folder`, by path."""
    measured = {"benchmark_proxies*.json": step_table, "benchmark_images*.json": image_table}
    measured |= {"benchmark_command*.json": command_table, "*/scaling.json": scaling_table}
    measured |= {"benchmark_fit*.json": fit_table, "benchmark_store*.json": store_table}
    measured |= {"benchmark_storage*.json": storage_table}
    measured |= {"benchmark_sources*.json": source_table, "benchmark_embeddings*.json": embeddings_table}
    measured |= {"*/accelerator.json": accelerator_table}
    measured |= {"benchmark_methods*.json": method_table, "difficulty.json": difficulty_table}
    measured |= {"unasked.json": unasked_table, "number.json": number_table}
    measured |= {"benchmark_families*.json": families_table, "sigmoid_shares.json": shares_table}
    measured |= {"benchmark_loading*.json": loading_table, "image_precision.json": precision_table}
    measured |= {"look*.json": look_table, "decoding.json": decoding_table, "benchmark_stages*.json": stages_table}
    measured |= {"sight*.json": sight_table, "group_names*.json": names_table}
    measured |= {"compiler_flags*.json": compiler_flags_table}
    found = {
        path.with_suffix(".md"): write(json.loads(path.read_text()))
        for name, write in measured.items()
        for path in sorted(folder.glob(name))
    }
    written = sorted([*folder.glob("*/table*.md"), *folder.glob("*/quality.md")])
    titles = {path: path.read_text().splitlines()[0] for path in written}
    titles |= {path: text.splitlines()[0] for path, text in found.items()}
    figures = sorted(folder.glob("*/*.svg"))
    links = [f"- [{titles[path].lstrip('# ')}](results/{path.relative_to(folder)})" for path in (*written, *found)]
    links += [f"- [figure: {path.stem}](results/{path.relative_to(folder)})" for path in figures]
    reading = folder / "reading.md"
    parts = [INTRODUCTION, opening(folder), reading.read_text() if reading.exists() else "", table2(folder)]
    parts.append("## All tables\n")
    return found | {folder.parent / "RESULTS.md": "\n".join([*parts, *links]) + "\n"}


def table2(folder: Path) -> str:
    """NMI of every method in every table 2 below `folder`, and the means beside the paper's."""
    parts = [
        "## Table 2, NMI\n\nBold: the highest of a row. What is significant, RI, the paper's figures by row, and what "
        "each method cost are in the pages that the titles lead to. *MSC* to *AugDMC* answer with that of their "
        "clusterings which fits the true labels best.\n"
    ]
    for path in sorted(folder.glob("*/table2.csv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        methods = list(dict.fromkeys(row["method"] for row in rows))
        places = list(dict.fromkeys((row["dataset"], row["aspect"]) for row in rows))
        ours, paper = (
            np.array([float(row[column] or "nan") for row in rows]).reshape(len(places), len(methods))
            for column in ("nmi", "paper_nmi")
        )
        body = [[" ".join(place), *texts(found)] for place, found in zip(places, ours)]
        body.append(["mean", *texts(ours.mean(0))])
        if np.isfinite(paper.mean(0)).any():
            body.append(["the paper's mean", *texts(paper.mean(0))])
        parts.append(f"### [{path.parent.name}](results/{path.parent.name}/table2.md)\n\n{lines(['', *methods], body)}")
    return "\n".join(parts)


def texts(row: np.ndarray) -> list[str]:
    """Figures of a row, the highest bold."""
    return [f"**{each:.3f}**" if each == np.nanmax(row) else "–" if np.isnan(each) else f"{each:.3f}" for each in row]


def opening(folder: Path) -> str:
    """Method by protocol: means with intervals, cells that differ from the default, seconds and memory."""
    verdicts, commands = {}, []
    for name, title in REPORTED.items():
        path = folder / name / "quality.json"
        if path.exists():
            found = json.loads(path.read_text())
            commands.append(source(found))
            verdicts |= {f"{title}, {each['protocol']}": each for each in found["verdicts"]}
    measured = folder / "benchmark_methods_cpu.json"
    costs = {row["name"]: row for row in json.loads(measured.read_text())["rows"]} if measured.exists() else {}
    names = dict.fromkeys(name for each in verdicts.values() for name in each["means"])
    # Parts of the default and proxies of images have a table in quality.md.
    names = [name for name in names if not name.startswith(("default:", "image pro"))]
    rows = []
    for name in sorted(names, key=lambda name: name != "default"):
        found = [each["means"].get(name) for each in verdicts.values()]
        cells = [f"{one['nmi']:.3f} ±{(one['high'] - one['low']) / 2:.3f}" if one else "–" for one in found]
        better, worse = (sum(one[which] for one in found if one) for which in ("better", "worse"))
        cost = [f"{costs[name]['seconds']:.2f}", f"{costs[name]['memory'] / 1e6:.0f}"] if name in costs else ["–", "–"]
        rows.append([f"**{name}**" if name == "default" else name, *cells, str(better), str(worse), *cost])
    head = ["", *(f"{title} ({each['cells']})" for title, each in verdicts.items()), "better", "worse", "s", "MB"]
    visible = ", ".join(f"{each['visible']:.3f} ({title})" for title, each in verdicts.items())
    return (
        "Mean NMI over cells (how many), with half its 95% interval. *exact*: asked with the true words; *superset*: "
        "with too many; *subset*: with a third of them missing. Every method but CLIP_GPT gets the true number of "
        "groups; CLIP_GPT makes up to one for each word. Better and worse: cells in which a method differs "
        "significantly from the default; for the default itself, from the best baseline of the cell. A difference that "
        f"would have been seen in four cells of five: {visible}. Seconds and memory: one fit by one aspect of 300 "
        f"images, embedded before.\n\n{lines(head, rows)}\n{chr(10).join(commands)}"
    )


def source_table(found: dict) -> str:
    """What `benchmark_sources` measured."""
    rates = found["images_per_second"]
    rows = [[name, f"{rate:.0f}", f"{rate / rates['folder']:.2f}"] for name, rate in rates.items()]
    head = ["source", "images a second", "of the folder's"]
    title = f"## Images embedded in a second, by source: encoder {found['clip']}"
    text = f"{found['images']:,} JPEG images of 640 × 480, listing included; median of {found['repeats']}, in turn."
    return f"{title}\n\n{text}\n\n{lines(head, rows)}\n{source(found)}"


def storage_table(found: dict) -> str:
    """What `benchmark_storage` measured."""
    rows = [
        [f"{1e3 * row['delay']:.0f}", "{:.1f} ({:.1f} to {:.1f})".format(row["seconds"], *row["spread"])]
        + [f"{row['times']:.2f}", f"{row['gets']:,}"]
        for row in found["rows"]
    ]
    head = ["ms before the answer to a GET", "seconds", "of the first row's", "GETs"]
    title = f"## Embedding images in a bucket: encoder {found['clip']}"
    text = f"`multimap embed` on {found['images']:,} JPEG images of 640 × 480 in moto's S3 server on the same machine; "
    return f"{title}\n\n{text}median of {found['repeats']}, in turn.\n\n{lines(head, rows)}\n{source(found)}"


def method_table(found: dict) -> str:
    """What `benchmark_methods` measured."""
    rows = [[row["name"], f"{row['seconds']:.3f}", f"{row['memory'] / 1e6:.0f}"] for row in found["rows"]]
    head = ["method", "seconds", "memory, MB"]
    title = f"## Seconds and memory of the methods on {found['images']} images: encoder {found['clip']}"
    return f"{title}\n\n{lines(head, rows)}\n{source(found)}"


def difficulty_table(found: dict) -> str:
    """What `difficulty` measured."""
    rows = [[level, f"{mean:.3f}"] for level, mean in found["means"].items()]
    head = ["difficulty", "mean NMI of zero-shot with the true words"]
    text = f"The tables run at difficulty {found['chosen']}: the lowest with a mean between .5 and .8."
    return f"## How hard the drawn sets are: encoder {found['clip']}\n\n{lines(head, rows)}\n{text}\n\n{source(found)}"


def sight_table(found: dict) -> str:
    """What `separability` measured."""
    code, rule = found["code"], found["found"]
    spans = {"0.5": ".5 or more", "0.3": ".3 to .5", "0.15": ".15 to .3", "0.0": "below .15"}
    titles = {
        "left_out": "Verdicts, every set's by the thresholds that all other sets give",
        "in_code": "The same by the thresholds in the code, which these cases gave",
    }
    parts = [
        "## Whether an encoder separates words: thresholds and verdicts",
        "Cases are drawings and photographs, seen by the checkpoint made for them and by others, with and without "
        "noise, under lists of words of several kinds. Groups are those of the default recipe: as many as words were "
        "given; of found words as many as the command chooses, and as many as there are labels. Wrong words fit no "
        'aspect of the images, and images of one value have nothing to separate: neither should be called "well". The '
        "criteria themselves were decided on all cases.",
        "*Win rate*: the share of images that the best word fits better than the best of as many abstract words (.5 is "
        "chance). *Structure*: how much more the images stand in groups than a Gaussian of the same mean and "
        "covariance (0: no more). *Share*: the mean probability of the words beside those of many things. *Well* needs "
        "all three. *Partly*: the score that this verdict needs. The score is the weakest criterion, from 0 (chance) "
        "to 1 (what *well* needs); a low share alone lowers a verdict to *partly* only.",
        "*By the rule*: quantiles over the cases whose groups have an NMI of .5 or more. *Given* pools true, too many "
        "and too few words. *Noise* 1: noise as wide as the spread of the embeddings was added to them. *card 0*: "
        "drawings of cards, of difficulty 0.",
        lines(
            ["criterion", "in the code", "by the rule"],
            [[name.replace("_", " "), f"{code[name]:.2f}", f"{rule[name]:.2f}"] for name in code],
        ),
    ]
    for part, title in titles.items():
        cells = [
            [kind, spans.get(span, "not grouped"), str(sum(levels.values()))]
            + [f"{number} ({number / sum(levels.values()):.0%})" for number in levels.values()]
            for kind, by_span in found[part].items()
            for span, levels in sorted(by_span.items(), reverse=True)
        ]
        parts += [f"{title}:", lines(["words", "NMI of the groups", "cases", "well", "partly", "hardly"], cells)]
    head = [
        "set",
        "encoder",
        "noise",
        "subject",
        "aspect",
        "words",
        "how many",
        "NMI",
        "win rate",
        "structure",
        "share",
    ]
    for name, title in {
        "photographs": "Photographs seen by the checkpoint made for them, with verdicts by the thresholds of the other "
        "sets",
        "mistakes": 'Groups with an NMI of .5 or more that are called "hardly", and what should not be called "well", '
        "by the same thresholds",
    }.items():
        cells = [
            [row["set"], row["encoder"], f"{row['noise']:.0f}", row["subject"], row["aspect"], row["kind"]]
            + [str(row["words"]), f"{row['nmi']:.2f}" if "nmi" in row else "", f"{row['win_rate']:.2f}"]
            + [f"{row['structure']:z.2f}", f"{row['share']:.2f}", row["verdict"]]
            for row in found[name]
        ]
        parts += [f"{title}:", lines([*head, "verdict"], cells)] if cells else []
    return "\n\n".join([part.rstrip() for part in parts] + [source(found)])


def names_table(found: dict) -> str:
    """What `group_names` measured."""
    keys, confident = ("groups", "named", "confident", "wrong"), found["confident"]
    of = found.get("of", "")
    rows = [
        [row["words"], *(f"{row[key]:,}" for key in keys), f"{row['wrong'] / max(row['named'], 1):.1%}"]
        + [f"{row['wrong'] / max(row['confident'], 1):.1%}"]
        for row in found["summary"]
    ]
    head = ["words", "groups", "with a name", f"confidence above {confident}", "wrong of these"]
    head += [f"wrong above {confident} / all names", f"wrong / all above {confident}"]
    wrong = [row for row in found["rows"] if not row["right"] and row["confidence"] > confident]
    pairs = collections.Counter(f"{row['name']} for {row['true']} ({row['set']})" for row in wrong).most_common(WRONG)
    listed = "; ".join(f"{pair}{f', {times} times' if times > 1 else ''}" for pair, times in pairs)
    title = f"## Names of groups that are wrong with confidence{', ' + of if of else ''}"
    text = (
        "*found*: words that the command finds; *half replaced*: half of the true words, and others of the vocabulary "
        "for the aspect; *others of the aspect*: only such others; *of something else*: such as guitar for the color; "
        "*half of them*: half of the true words. A name is wrong if it is not the commonest true value in its group. "
        "The vocabulary does not have burgundy."
    )
    if of:
        text += " The difference from [group_names](group_names.md) includes other changes between the two."
    return f"{title}\n\n{text}\n\n{lines(head, rows)}\nWrong, the most frequent first: {listed}.\n\n{source(found)}"


def unasked_table(found: dict) -> str:
    """What `unasked` measured."""
    rows = []
    for row in found["rows"]:
        cells = [row["set"], row["aspect"], "yes" if row["seen"] else "no", str(row["clusters"]), f"{row['true']:.3f}"]
        if row["found"] is None:
            rows.append([*cells, "no words", "", "", row["true_verdict"], "", ""])
            continue
        cells += [f"{row['found']:.3f}", f"{len(row['words'])} of {row['candidates']}"]
        cells.append(f"{row['found_own_number']:.3f}")
        rows.append([*cells, row["true_verdict"], row["found_verdict"], ", ".join(row["words"])])
    head = ["set", "aspect", "seen", "groups", "NMI, true words", "NMI, found words", "words found"]
    head += ["NMI, a group a word", "diagnosis, true words", "diagnosis, found words", "found"]
    orders = [
        [row["set"], row["encoder"], *(cell for kind in ("all", "seen") for cell in precisions([row], kind))]
        + [f"{row['seconds']:.1f}", f"{len(row['order'])}: {', '.join(row['order'][:5])} …"]
        for row in found["suggested"]
    ]
    precision = ["average precision", "of random orders", "of what is seen", "of random orders"]
    suggested = lines(["set", "encoder", *precision, "seconds", "aspects, first five"], orders)
    return (
        "## Where no words are given: words and aspects that images choose\n\n"
        "Means. Loss: NMI with the true words less that with words found in the built-in vocabulary, both in the true "
        "number of groups.\n\n"
        f"{unasked_means(found, precision)}\n{lines(head, rows)}\nThe set's own aspects among those that "
        f"`suggest_aspects` puts in order.\n\n{suggested}\n{source(found)}"
    )


def unasked_means(found: dict, precision: list[str]) -> str:
    """The means of `unasked_table`, of twins, of photographs and of both."""
    rows = []
    for name, kinds in {"twins": (True,), "photographs": (False,), "both": (True, False)}.items():
        compared = [row for row in found["rows"] if row["drawn"] in kinds and row["found"] is not None]
        suggested = [row for row in found["suggested"] if row["drawn"] in kinds]
        if compared and suggested:
            both = [[row for row in compared if row["seen"]], compared]
            losses = [[row["true"] - row["found"] for row in each] for each in both]
            cells = [f"{sum(each) / len(each):.3f} ({len(each)})" if each else "–" for each in losses]
            cells += [cell for kind in ("all", "seen") for cell in precisions(suggested, kind)]
            rows.append([name, *cells, f"{sum(row['seconds'] for row in suggested) / len(suggested):.1f}"])
    head = ["", "loss, aspects that are seen (how many)", "loss, all", *precision, "seconds of `suggest_aspects`"]
    return lines(head, rows)


def precisions(suggested: list[dict], kind: str) -> list[str]:
    """Mean average precision and that of random orders, of the sets that have aspects of this kind."""
    rated = [row[kind] for row in suggested if kind in row]
    return [f"{sum(row[of] for row in rated) / len(rated):.3f}" if rated else "–" for of in ("precision", "random")]


def step_table(found: dict) -> str:
    """What `benchmark_proxies` measured."""
    head = ["", "precision", "images", "ms an image-step", "GFLOP/s", "of the peak", "memory, MB", "compilation, s"]
    rows = []
    for row in found["rows"]:
        cells = [row["what"], row["precision"], str(row["images"])]
        if "error" in row:
            rows.append([*cells, "not measured", "", "", "", ""])
            continue
        low, high = row["spread"]
        time = f"{row['ms_per_image_step']:.2f} ({low:.2f} to {high:.2f})"
        memory = f"{row['peak_memory'] / 1e6:.0f}"
        rows.append(
            [*cells, time, f"{row['gflops']:.0f}", f"{row['fraction_of_peak']:.2f}", memory, f"{row['compile_s']:.1f}"]
        )
    peaks = [
        f"{precision} {rates['jax']:.0f} (JAX) and {rates['torch']:.0f} (PyTorch)"
        for precision, rates in found["peak_gflops"].items()
    ]
    return (
        f"## One step of one image: text tower of {found['rows'][0]['tower']}, random weights\n\n"
        f"{lines(head, rows)}\nA plain matrix product, GFLOP/s: {', '.join(peaks)}.\n\n{source(found)}"
    )


def image_table(found: dict) -> str:
    """What `benchmark_images` measured."""
    rows = [
        [row["what"], f"{row['images_per_second']:.1f}", f"{row['peak_memory'] / 1e6:.0f}"] for row in found["rows"]
    ]
    head = ["", "images a second", "memory, MB"]
    return f"## Embedding images, decoding included: {found['clip']}\n\n{lines(head, rows)}\n{source(found)}"


def compiler_flags_table(found: dict) -> str:
    """What `compiler_flags` measured."""
    rows = []
    for row in found["rows"]:
        flags = f"`{row['flags']}`" if row["flags"] else ""
        if "error" in row:
            rows.append([row["what"], flags, "not run", "", ""])
            continue
        low, high = row["spread"]
        time = f"{row['ms_per_image_step']:.3f} ({low:.3f} to {high:.3f})"
        rows.append([row["what"], flags, time, f"{row['compile_s']:.1f}", "yes" if row["same_bits"] else "no"])
    return (
        f"## XLA's flags: one step of one image, text tower of {found['tower']}, float32\n\n"
        f"{lines(['', 'XLA_FLAGS', 'ms an image-step', 'compilation, s', 'same bits'], rows)}\n{source(found)}"
    )


def families_table(found: dict) -> str:
    """What `families` measured."""
    rows = [
        [
            row["family"],
            f"{row['images_per_second']['torch']:.1f}",
            f"{row['images_per_second']['ours']:.1f}",
            f"{row['times_faster']:.2f}",
            f"{row['ms_per_image_step']:.2f}",
            f"{1e3 / row['ms_per_image_step']:,.0f}",
        ]
        for row in found["rows"]
    ]
    head = ["", "transformers on PyTorch, images/s", "ours, images/s", "times", "ms an image-step", "image-steps/s"]
    peaks = found["peak_gflops"]
    return (
        "## Families of encoders: image towers and one step of proxies, random weights, float32\n\n"
        f"{lines(head, rows)}\nA plain matrix product, GFLOP/s: {peaks['jax']:.0f} (JAX) and {peaks['torch']:.0f} "
        f"(PyTorch).\n\n{source(found)}"
    )


def loading_table(found: dict) -> str:
    """What `loading` measured."""
    size, read = found["bytes"]["float32"], found["read"]
    rows = [
        [
            name,
            f"{found[name]['seconds']:.1f}",
            f"{found[name]['seconds'] / read:.1f}",
            f"{found[name]['peak'] / size:.2f}",
            f"{found[name]['after'] / size:.2f}",
        ]
        for name in ("float32", "bf16")
    ]
    head = ["image tower", "seconds", "times reading the file", "peak of memory, of its float32 size", "after"]
    return (
        f"## Loading a CLIP of the size of ViT-H/14 from float16 ({found['bytes']['file'] / 1e9:.2f} GB)\n\n"
        f"{lines(head, rows)}\nReading the file, which the system has in memory, into memory of its own: {read:.2f} s; "
        f"through a little memory that is used again: {found['read_through']:.2f} s.\n\n{source(found)}"
    )


def stages_table(found: dict) -> str:
    """What `stages` measured."""
    stages, rates = list(found["rows"][0]["milliseconds"]), list(found["rows"][0]["per_second"])
    times = [[row["what"], *(f"{row['milliseconds'][name]:.2f}" for name in stages)] for row in found["rows"]]
    speeds = [
        [
            row["what"],
            *(f"{row['per_second'][name]:,.4g}" for name in rates),
            f"{row['per_second']['decoding'] / row['per_second']['decoding_1']:.2f}",
            f"{row['memory'] / 2**20:,.0f} MiB",
        ]
        for row in found["rows"]
    ]
    names = {"decoding_1": "decoding, 1 thread", "plain": "embedded without thumbnails"}
    head = ["images", *(names.get(name, name) for name in rates), "decoding, times 1 thread", "memory"]
    return (
        f"## From a file to its embedding: stages in milliseconds, and images per second (`{found['clip']}`)\n\n"
        f"{lines(['images', *stages], times)}\n{lines(head, speeds)}\n{source(found)}"
    )


def precision_table(found: dict) -> str:
    """What `image_precision` measured."""
    return settings_table(found, "Image towers in bf16 beside float32", "bf16")


def decoding_table(found: dict) -> str:
    """What `decoding` measured."""
    return settings_table(found, "Large JPEGs decoded fast beside whole", "fast")


def look_table(found: dict) -> str:
    """What `look` measured."""
    simulated, kinds = found["model"] == "simulated", list(LOOKED)
    head = [*kinds, "groups (auto)", "left out"]
    cases: dict[str, list[dict]] = {}
    for row in found["rows"]:
        cases.setdefault(f"{row['noise']} {row['share']:.0%}" if simulated else "real", []).append(row)
    means = [[case, *(f"{np.mean([row[kind] for row in rows]):.3f}" for kind in kinds)] for case, rows in cases.items()]
    each = [
        [
            f"{row['set']}, {row['aspect']}",
            case,
            *(f"{row[kind]:.3f}" for kind in kinds),
            str(row["groups chosen"]),
            str(row["left out"]),
        ]
        for case, rows in cases.items()
        for row in rows
    ]
    title = "SIMULATED answers" if simulated else f"answers of {found['model']}"
    explained = [f"*{kind}*: {text}." for kind, text in LOOKED.items()]
    explained += ["NMI with the true labels. Images that are left out count as one more group."]
    if simulated:
        explained += [
            "No model that sees images was at hand: a program answered from the true labels, a share of them wrong, in "
            "other words, in whole sentences, refused, or in another case; *mixed* has all of these."
        ]
    count = len({(row["set"], row["aspect"]) for row in found["rows"]})
    return (
        f"## Groups by {title}, beside groups without\n\n{' '.join(explained)}\n\nMeans of {count} aspects:\n\n"
        f"{lines(['answers', *kinds], means)}\n\n{lines(['aspect', 'answers', *head], each)}\n{source(found)}"
    )


def settings_table(found: dict, title: str, other: str) -> str:
    """What one setting for images changes. other: its value that is not the default."""
    rows = [
        [
            row["checkpoint"],
            row["set"],
            str(row["images"]),
            f"{row['cosine']['mean']:.5f}",
            f"{row['cosine']['lowest']:.5f}",
            ", ".join(f"{aspect} {100 * share:.1f}%" for aspect, share in row["changed"].items()),
            "{:.0f} ({:.0f})".format(*row["images_per_second"]),
        ]
        for row in found["rows"]
    ]
    head = [
        "checkpoint",
        "set",
        "images",
        "mean cosine",
        "lowest",
        "images in another group",
        f"images/s ({other})",
    ]
    return (
        f"## {title}: cosines of embeddings, images in another group, images per second\n\n"
        f"{lines(head, rows)}\n{source(found)}"
    )


def shares_table(found: dict) -> str:
    """What `sigmoid_shares` measured."""
    head = ["", "words", "accuracy"]
    head += [f"{name} of {kind}" for name in ("NLL", "calibration error", "NMI") for kind in ("odds", "probabilities")]

    def figures(each: dict) -> list[str]:
        return [
            f"{each[kind][name]:.3f}"
            for name in ("nll", "calibration_error", "nmi")
            for kind in ("odds", "probabilities")
        ]

    rows = [
        [name, str(each["words"]), f"{each['accuracy']:.3f}", *figures(each)] for name, each in found["aspects"].items()
    ]
    rows.append(["mean", "", "", *figures(found["mean"])])
    return (
        "## Shares of words from a SigLIP's sigmoids\n\nA tiny SigLIP, trained on drawings for "
        f"{found['updates']:,} steps (scale {found['scale']:.1f}, bias {found['bias']:.1f}); drawings of another seed, "
        f"asked with the true words of each aspect.\n\n{lines(head, rows)}\n{source(found)}"
    )


def scaling_table(found: dict) -> str:
    """What `scaling` measured."""
    parts = ("embed", "words", "group", "report", "whole")
    head = ["images", "embedding alone, s", *(f"{part}, s" for part in parts), "after embedding", "again, s"]
    head += ["memory, MB", "ARI"]
    rows = [
        [f"{row['images']:,}", f"{row['alone']:.1f}"]
        + [f"{row['seconds'][part]:.1f}" for part in parts]
        + [f"{row['after']:.1%}", f"{row['again']:.1f}", f"{row['peak_memory'] / 1e6:.0f}", f"{row['sampled_ari']:.3f}"]
        for row in found["rows"]
    ]
    slopes = ", ".join(f"{name} {value:.2f}" for name, value in found["slopes"].items())
    sizes = [f"{found['rows'][i]['images']:,}" for i in (-3, -1)]
    return (
        f"## The command as images grow: JPEGs of drawn flowers, encoder {found['clip']}\n\n"
        "Alone: `multimap embed --nothumbnails`. After embedding: words, groups with metrics, page and files, as a "
        "share of embedding alone. Again: all images are embedded already. ARI: between k-means on all rows and on a "
        "tenth.\n\n"
        f"{lines(head, rows)}\nSlopes from {sizes[0]} to {sizes[1]} images (1 is proportional): {slopes}.\n\n"
        f"{source(found)}"
    )


def command_table(found: dict) -> str:
    """What `benchmark_command` measured."""
    parts = found["parts"]
    what = "a second aspect, nothing embedded" if found["kept"] else "a first run"
    row = [
        f"{found['images']:,}",
        what,
        f"{found['seconds']:.2f} ({found['spread'][0]:.2f} to {found['spread'][1]:.2f})",
    ]
    row += [f"{seconds:.2f}" for seconds in parts.values()]
    head = ["images", "", "whole, s", *(f"{part}, s" for part in parts)]
    return f"## From the command to the report: encoder {found['clip']}\n\n{lines(head, [row])}\n{source(found)}"


def store_table(found: dict) -> str:
    """What `benchmark_store` measured."""
    head = ["images", "embedding, s", "keeping, first run, s", "of embedding", "second run, s"]
    row = [f"{found['images']:,}", f"{found['embedding_seconds']:.1f}", f"{found['store_seconds']:.2f}"]
    row += [f"{found['share']:.1%}", f"{found['again_seconds']:.2f}"]
    return f"## What keeping costs: encoder {found['clip']}\n\n{lines(head, [row])}\n{source(found)}"


def fit_table(found: dict) -> str:
    """What `benchmark_fit` measured."""
    head = ["rows", "words", "seconds", "highest memory, MB", "array, MB", "a fit on 1,000 rows, MB", "beyond both, MB"]
    rows = [
        [f"{row['images']:,}", str(row["words"]), f"{row['seconds']:.0f}"]
        + [f"{row[part] / 1e6:.0f}" for part in ("peak_memory", "array_bytes", "small_peak", "beyond")]
        for row in found["rows"]
    ]
    return f"## Memory of a fit on many embeddings, default recipe\n\n{lines(head, rows)}\n{source(found)}"


def embeddings_table(found: dict) -> str:
    """What `benchmark_embeddings` measured."""
    head = ["embeddings", "whole, s", "reading, s", "grouping, s", "report, s", "anonymous memory, MB"]
    head += [f"{what}, {name}" for name in found["rows"][0]["ari"] for what in ("zero-shot's ARI", "ours")]
    rows = [
        [f"{row['images']:,}", f"{row['seconds']:.0f}"]
        + [f"{row['timings'][part]:.1f}" for part in ("load", "group", "report")]
        + [f"{row['anonymous'] / 1e6:.0f}"]
        + [f"{row[kind][name]:.3f}" for name in row["ari"] for kind in ("zero_shot", "ari")]
        for row in found["rows"]
    ]
    text = "The whole command on embeddings of 512 in float16, two aspects of 3 and 40 words, groups planted."
    whole = found["rows"][0].get("in_memory")
    if whole:
        same = ", ".join(f"{name} {ari:.3f}" for name, ari in whole["ari"].items())
        text += f" The estimator with all {found['rows'][0]['images']:,} rows in memory: {same}."
    return f"## Many embeddings: the whole command\n\n{text}\n\n{lines(head, rows)}\n{source(found)}"


def main(_):
    for path, text in pages(FOLDER / "results").items():
        path.write_text(text)
        print(f"written: {path}")


if __name__ == "__main__":
    app.run(main)
