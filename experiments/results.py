"""Writes RESULTS.md from what lies under experiments/results/, as the programs left it.

python -m experiments.results
"""

from __future__ import annotations

import json
from pathlib import Path

from absl import app

from experiments.benchmarking import table

FOLDER = Path(__file__).parent
INTRODUCTION = """# Results

Made by `python -m experiments.results` from what the programs wrote. Nothing here is claimed for a data set that it was
not run on: twins are drawings of this package, the paper's figures stand in brackets. `photos` are some hundred
photographs of cards, cars, faces and flowers from public collections, laid out as `datasets.py` says, `photo-mini` is a
small CLIP that was trained on other such photographs; neither comes with this package. What stands under `quality` was
run with first seeds that took no part in choosing the default recipe, and nothing was chosen on photographs.
"""


def results(folder: Path) -> str:
    """RESULTS.md from every table of `quality` and the table programs below `folder`, by path, then speed."""
    paths = sorted([*folder.glob("*/table*.md"), *folder.glob("*/quality.md")])
    measured = {"benchmark_proxies*.json": step_table, "benchmark_images*.json": image_table}
    measured |= {"benchmark_command*.json": command_table, "*/scaling.json": scaling_table}
    measured |= {"benchmark_fit*.json": fit_table, "benchmark_store*.json": store_table}
    speed = [
        write(json.loads(path.read_text())) for name, write in measured.items() for path in sorted(folder.glob(name))
    ]
    return "\n".join([INTRODUCTION, *(path.read_text().rstrip() + "\n" for path in paths), *speed])


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


def scaling_table(found: dict) -> str:
    """What `scaling` measured."""
    head = ["images", "proxies of images", "embedding, s", "grouping, s", "report, s", "after embedding", "whole, s"]
    head += ["arrays, MB", "rest, MB", "ARI, span", "ARI, proxies"]
    rows = [
        [f"{row['images']:,}", "kept" if row["keep_proxies"] else "none"]
        + [f"{row['seconds'][part]:.1f}" for part in ("embed", "group", "report")]
        + [f"{row['after']:.1%}", f"{row['seconds']['total']:.1f}"]
        + [f"{row[part] / 1e6:.0f}" for part in ("array_bytes", "other_bytes")]
        + [f"{row['sampled_ari'][kind]:.3f}" for kind in ("span", "proxy")]
        for row in found["rows"]
    ]
    return (
        f"## The command as images grow: drawn flowers, encoder {found['clip']}\n\n"
        "Grouping has metrics in it. ARI: between k-means on all rows and on a tenth of them.\n\n"
        f"{lines(head, rows)}\n{source(found)}"
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


def lines(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(table(head, rows)) + "\n"


def source(found: dict) -> str:
    return f"`{found['command']}`, {found['date']}, {found['machine']}.\n"


def main(_):
    (FOLDER / "RESULTS.md").write_text(results(FOLDER / "results"))
    print(f"written: {FOLDER / 'RESULTS.md'}")


if __name__ == "__main__":
    app.run(main)
