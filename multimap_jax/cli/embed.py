"""`multimap embed`: only embeds the images, with one worker or many."""

from __future__ import annotations

import re

from absl.flags import FlagValues

from multimap_jax.cli import flags
from multimap_jax.cli.console import running
from multimap_jax.cli.processes import CLUSTER, join_processes
from multimap_jax.errors import InputError

PURPOSE = "embed many images, split among workers"
USAGE = """Only embeds the images, for multimap --embeddings=OUT and for other tools.

  multimap embed --images='shards/{00000..00031}.tar' --clip=openai/clip-vit-base-patch32 --out=out/ --part=2/16
  multimap embed --images=photos/ --clip=openai/clip-vit-base-patch32 --out=out/
  multimap --embeddings=out/ --subject=… --aspect=… --clip=openai/clip-vit-base-patch32 --out=groups/    (then)

--part=2/16 is the second of sixteen independent workers; each embeds every sixteenth shard. If a worker dies, start it
again: it embeds only what is missing. Or use --distributed and run the same command on every host of a Cloud TPU slice,
under Slurm or Open MPI; each host takes its share.
"""
FLAGS = {
    "Input": (flags.IMAGES, *flags.ENCODER),
    "Output": (
        flags.text("out", "folder for the embeddings, the same one for all workers"),
        flags.switch("thumbnails", "keep thumbnails for the page, if there are at most 100,000 images", True),
    ),
    "Several workers": (
        flags.text("part", "this worker's number, from 1, and the number of workers: 2/16", "1/1"),
        *CLUSTER,
    ),
}


def run(values: FlagValues) -> None:
    paths = flags.paths_of(values, "images", "out")
    number, workers = parse_part(values.part)

    from multimap_jax.runs.embed import run_embed

    processes = join_processes(values)
    if processes.coordinator:
        number, workers = processes.index + 1, processes.count
    more = {"part": (number, workers), "processes": processes, "thumbnails": values.thumbnails}
    with running(values, number - 1 if workers > 1 else None, bool(processes.coordinator)) as output:
        run_embed(**paths, **flags.encoder_of(values), **more, **output)


def parse_part(text: str) -> tuple[int, int]:
    """The worker's number and the number of workers: "2/16" -> (2, 16). InputError for anything else."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or max(map(len, found.groups())) > flags.DIGITS:
        raise InputError(f"--part={text}: expected a worker's number and the number of workers, such as 2/16")
    number, workers = map(int, found.groups())
    if workers == 0:
        raise InputError(f"--part={text}: expected at least one worker, such as 1/1")
    if not 1 <= number <= workers:
        advice = " (if your scheduler counts from 0: --part=$((INDEX+1))/N)" if number == 0 else ""
        raise InputError(f"--part={text}: expected 1/{workers} to {workers}/{workers}{advice}")
    return number, workers
