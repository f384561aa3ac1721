"""`multimap edit`: merges, splits and renames the groups of a finished run."""

from __future__ import annotations

from absl.flags import FlagValues

from multimap_jax.cli import flags
from multimap_jax.cli.console import running

PURPOSE = "merge, split or rename groups"
USAGE = """Merges, splits and renames groups of a finished run, and moves single images. Embeddings are not recomputed.

Open the run's report.html, make the edits there and save them. Then apply them:

  multimap edit --run=out/ --edits=~/Downloads/edits.json --out=edited/
  multimap edit --run=edited/ --edits=more.json --out=again/             (edits of edited groups)
  multimap apply --run=edited/ --images=new/ --out=more/                 (new images into the edited groups)

You can also write edits.json by hand. Edits apply in order; each uses the current names of the groups. "leftover"
leaves images unassigned:

  {"edits": [{"aspect": "color", "merge": ["red", "pink"], "into": "red"},
             {"aspect": "color", "rename": "red", "to": "warm"},
             {"aspect": "color", "split": "green", "into": 2},
             {"aspect": "color", "move": ["a.png"], "to": "warm"},
             {"aspect": "color", "leftover": ["b.png"]}]}
"""
FLAGS = {
    "Input": (flags.RUN, flags.text("edits", "file of edits, saved from the page"), flags.LABELS),
    "Output": (flags.text("out", "folder for the edited run, not the run's own"),),
    "If files of the run were moved": flags.MOVED,
}


def run(values: FlagValues) -> None:
    paths = flags.paths_of(values, "run", "edits", "out", optional=("labels", "images", "embeddings"))

    from multimap_jax.runs.edit import RunJob, run_edit

    with running(values) as output:
        run_edit(RunJob(**paths, clip=values.clip, line=flags.command_line(values, "edit")), **output)
