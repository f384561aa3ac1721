"""`multimap export`: writes the groups of a finished run as folders of images, or as a table."""

from __future__ import annotations

from absl.flags import DEFINE_multi_string, FlagValues

from multimap_jax.cli import flags
from multimap_jax.cli.console import running

PURPOSE = "get folders of images, or a table"
USAGE = """Exports the groups of a finished run: as folders of images, or as a table for other tools.

  multimap export --run=out/ --aspect=color --to=folders/ --how=link --dry_run    (only shows what it would do)
  multimap export --run=out/ --aspect=color --to=folders/                         (a folder for each group)
  multimap export --run=out/ --to=table.parquet                   (groups, coordinates, embeddings; or table.csv)

Export never moves or changes the run's images and never overwrites a file. Each new folder gets a hidden file,
.multimap.json, so that later runs skip these copies.
"""
FLAGS = {
    "Input": (
        flags.RUN,
        flags.text("aspect", "aspect to export; a table has all of them by default", [], DEFINE_multi_string),
    ),
    "Output": (
        flags.text("to", "target folder, or a table: .parquet or .csv"),
        flags.choice("how", "copy the images, or make symbolic links to them", ("copy", "link"), "copy"),
        flags.switch("dry_run", "only show what would be written"),
    ),
    "If files of the run were moved": flags.MOVED,
}


def run(values: FlagValues) -> None:
    paths = flags.paths_of(values, "run", "to", optional=("images", "embeddings"))

    from multimap_jax.runs.export import TABLES, Export, run_export

    job = Export(**paths, aspects=tuple(values.aspect), how=values.how, dry_run=values.dry_run, clip=values.clip)
    with running(values, jax=job.to.suffix.lower() in TABLES) as output:
        run_export(job, **output)
