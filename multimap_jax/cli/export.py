"""`multimap export`: the groups of a finished run as folders of images, or as a table."""

from __future__ import annotations

from absl.flags import DEFINE_multi_string, FlagValues

from multimap_jax.cli import flags
from multimap_jax.cli.console import running

PURPOSE = "get folders of images, or a table"
USAGE = """Exports the groups of a finished run: as folders of images, or as a table for other tools.

  multimap export --run=out/ --aspect=color --to=folders/ --how=link --dry_run    (only shows what it would do)
  multimap export --run=out/ --aspect=color --to=folders/                         (a folder for each group)
  multimap export --run=out/ --to=table.parquet                   (groups, coordinates, embeddings; or table.csv)

The run's images are not moved or changed, and no existing file is overwritten. Each new folder gets a hidden file,
.multimap.json, so that a later run that reads a folder above it skips these copies.
"""
FLAGS = (
    flags.RUN,
    flags.text("aspect", "which groups; a table has all aspects unless you name some", [], DEFINE_multi_string),
    flags.text("to", "folder for the folders, or a table: .parquet or .csv"),
    flags.choice("how", "copy the images, or make symbolic links to them", ("copy", "link"), "copy"),
    flags.switch("dry_run", "only show what would be done"),
    *flags.MOVED,
)


def run(values: FlagValues) -> None:
    paths = flags.paths_of(values, "run", "to", optional=("images", "embeddings"))

    from multimap_jax.runs.export import TABLES, Export, run_export

    job = Export(**paths, aspects=tuple(values.aspect), how=values.how, dry_run=values.dry_run, clip=values.clip)
    with running(values, jax=job.to.suffix.lower() in TABLES) as output:
        run_export(job, **output)
