"""Writes RESULTS.md from the tables under experiments/results/, as the table programs left them.

python -m experiments.results
"""

from pathlib import Path

from absl import app

FOLDER = Path(__file__).parent
INTRODUCTION = """# Results

Made by `python -m experiments.results` from what the table programs wrote. Nothing here is claimed for a data set that
it was not run on: twins are drawings of this package, the paper's figures stand in brackets. `photos` are some hundred
photographs of cards, cars, faces and flowers from public collections, laid out as `datasets.py` says, `photo-mini` is a
small CLIP that was trained on other such photographs; neither comes with this package. What stands under `quality` was
run with first seeds that took no part in choosing the default recipe, and nothing was chosen on photographs.
"""


def results(folder: Path) -> str:
    """RESULTS.md from every table of `quality` and the table programs below `folder`, sorted by path."""
    paths = sorted([*folder.glob("*/table*.md"), *folder.glob("*/quality.md")])
    return "\n".join([INTRODUCTION, *(path.read_text().rstrip() + "\n" for path in paths)])


def main(_):
    (FOLDER / "RESULTS.md").write_text(results(FOLDER / "results"))
    print(f"written: {FOLDER / 'RESULTS.md'}")


if __name__ == "__main__":
    app.run(main)
