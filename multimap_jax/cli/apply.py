"""`multimap apply`: assigns new images to the groups of a finished run."""

from __future__ import annotations

from absl.flags import FlagValues

from multimap_jax.cli import flags
from multimap_jax.cli.console import running

PURPOSE = "put new images into the same groups"
USAGE = """Puts new images into the groups of a finished run. The groups do not change.

  multimap apply --run=out/ --images=new/ --out=more/
  multimap apply --run=edited/ --images=new/ --out=more/          (into the groups of an edited run)
  multimap apply --run=out/ --images=new/ --labels=truth.csv --out=more/

Writes labels.csv, run.json, report.html and, with --labels, metrics.json into --out.
"""
FLAGS = {
    "Input": (flags.RUN, flags.text("images", f"the new images: {flags.SOURCE_HELP}"), flags.LABELS, flags.RUN_CLIP),
    "A model that looks at the images, if the run asked one": flags.LOOK,
    "Output": (flags.text("out", "folder for the results, not the run's own"),),
}


def run(values: FlagValues) -> None:
    paths, look = flags.paths_of(values, "run", "images", "out", optional=("labels",)), flags.look_of(values)

    from multimap_jax.runs.apply import run_apply
    from multimap_jax.runs.edit import RunJob

    with running(values) as output:
        line = flags.command_line(values, "apply")
        run_apply(RunJob(**paths, clip=values.clip, line=line, look=look, allowed=values.yes), **output)
