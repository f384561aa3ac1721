"""`multimap suggest`: suggests aspects to group the images by."""

from __future__ import annotations

from absl.flags import FlagValues

from multimap_jax.cli import flags
from multimap_jax.cli.console import running

PURPOSE = "find aspects to group by"
USAGE = """Ranks the vocabulary's aspects by how well the encoder separates their words on these images, and prints the
command to run next. That command reuses the embeddings cached in --out.

  multimap suggest --images=photos/ --subject=fruit --clip=openai/clip-vit-base-patch32 --out=out/
  multimap suggest --embeddings=out/ --subject=fruit --clip=openai/clip-vit-base-patch32
  multimap suggest --images=photos/ --subject=fruit --vocabulary=builtin,mine.txt --out=out/
"""
OUT = flags.text("out", "folder for the embeddings, which the next command reuses", "out")
FLAGS = {"Input": flags.INPUTS, "Output": (OUT,), "Words": flags.WORD_SOURCE_FLAGS}


def run(values: FlagValues) -> None:
    flags.check_source(values)
    paths = flags.paths_of(values, "out", optional=("images", "embeddings"))

    from multimap_jax.runs.suggest import run_suggest

    images, sources = paths["images"] or paths["embeddings"], flags.word_sources(values)
    encoder = flags.encoder_of(values)
    with running(values) as output:
        run_suggest(images, bool(values.embeddings), paths["out"], values.subject, sources=sources, **encoder, **output)
