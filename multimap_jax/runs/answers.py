"""Asks a model about the images of a run, and keeps its answers in --out, so that none is asked twice.

    answers/<aspect>-<key>/plan_000000.parquet      as in runs/cache.py
    answers/<aspect>-<key>/answers_000003.parquet   name and version of each image, its answer, or why it has none, and
                                                    again: whether the next run asks again

The key depends on all that an answer depends on besides the image: question, host, model and size.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from pathlib import Path

from multimap_jax.errors import InputError
from multimap_jax.images.thumbnails import pick
from multimap_jax.prompts.answers import LONGEST_ANSWER, Answers
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.runs.cache import ShardCache, keyed_folder
from multimap_jax.runs.distributed.process_group import ProcessGroup
from multimap_jax.runs.run_embeddings import RunEmbeddings
from multimap_jax.sources.plan import REPAIR, Image, check_texts
from multimap_jax.sources.source import Source
from multimap_jax.storage.encoding import as_table
from multimap_jax.storage.output import write
from multimap_jax.storage.reading import explained, read_table
from multimap_jax.words.look import Answer, Look, ask_images, together, unasked

SHARD_IMAGES = 64  # what a killed run asks again, at most, besides the requests on their way
COLUMNS = ("name", "version", "answer", "reason", "again")


class AnswerCache(ShardCache):
    """The answers about one aspect, in their own folder."""

    @classmethod
    def of(cls, out: Path, aspect: Aspect, asked: Look) -> AnswerCache:
        return cls(out, keyed_folder("answers", aspect.name, {"aspect": aspect.name, **asked.origin(aspect)}))

    def file(self, shard: int) -> str:
        return f"{self.name}/answers_{shard:06}.parquet"

    def read(self, shard: int) -> dict[str, list]:
        path = self.out / self.file(shard)
        with explained(f"{path}", REPAIR):
            return read_table(path, COLUMNS)

    def check(self, shard: int) -> None:
        found = self.read(shard)
        check_texts(*(found[name] for name in COLUMNS[:4]))
        if not all(type(again) is bool for again in found["again"]):
            raise ValueError("again is neither true nor false")
        if any(len(text) > LONGEST_ANSWER for name in ("answer", "reason") for text in found[name]):
            raise ValueError("it holds an answer that is too long")

    def held(self, shard: int) -> set[Image]:
        """The images of a finished shard, without those to ask about again."""
        found = self.read(shard)
        images = zip(found["name"], found["version"], found["again"])
        return {(name, version) for name, version, again in images if not again}

    def keep(self, shard: int, answers: dict[Image, Answer]) -> None:
        values = list(answers.values())
        table: dict[str, list] = {
            "name": [name for name, _ in answers],
            "version": [version for _, version in answers],
            "answer": [answer.text for answer in values],
            "reason": [answer.reason for answer in values],
            "again": [answer.again for answer in values],
        }
        write(self.out, self.file(shard), as_table(table))

    def compute(self, shards: dict[Image, int], mine: Sequence[int], ask: Callable) -> None:
        """Asks about the images of the unfinished ones of the shards `mine`. Whatever ends it, the answers so far are
        kept. ask: gets names of images, and a function to call with the index and the answer of each."""
        missing = set(mine).difference(self.done())
        wanted = sorted((shard, image) for image, shard in shards.items() if shard in missing)
        waiting: dict[int, dict[Image, Answer]] = {}
        sizes = collections.Counter(shard for shard, _ in wanted)

        def done(i: int, answer: Answer) -> None:
            shard, image = wanted[i]
            answers = waiting.setdefault(shard, {})
            answers[image] = answer
            if len(answers) == sizes[shard]:
                self.keep(shard, waiting.pop(shard))

        try:
            ask([name for _, (name, _) in wanted], done)
        finally:
            for shard, answers in waiting.items():
                self.keep(shard, answers)

    def gather(self, shards: dict[Image, int]) -> dict[Image, Answer]:
        found: dict[Image, Answer] = {}
        for shard in sorted(set(shards.values())):
            rows = self.read(shard)
            found |= {
                (name, version): Answer(text, reason, again)
                for name, version, text, reason, again in zip(*(rows[column] for column in COLUMNS))
            }
        return found


def look_at(
    out: Path,
    aspect: Aspect,
    asked: Look,
    source: Source,
    embedded: RunEmbeddings,
    process_group: ProcessGroup,
    progress: bool,
    say: Callable[[str], None],
) -> Answers:
    """Answers about all embedded images. Kept ones are read; every process asks about its shards of the rest.

    Raises InputError or InputOSError where the server cannot be used; the answers so far are kept.
    """
    cache, names = AnswerCache.of(out, aspect, asked), embedded.names
    images = list(zip(names, embedded.versions()))
    requested = [images[i] for i in asked.chosen(names)]

    def plan() -> dict:
        return {"shards": list(cache.plan_shards(requested, lambda: SHARD_IMAGES).values())}

    numbers = process_group.broadcast(cache.name.replace("/", "-"), plan)["shards"]
    shards = dict(zip(requested, numbers))
    own = process_group.processes.share(numbers)

    def ask(wanted: Sequence[str], done: Callable[[int, Answer], None]) -> None:
        ask_images(pick(source.images, wanted), aspect, asked, done, say, progress)

    try:
        cache.compute(shards, own, ask)
    except InputError as error:
        message = f"{error.message}; the answers so far are kept: run the same command again to continue"
        raise type(error)(message, error.parameter or "look", error.value) from None
    process_group.barrier(set(numbers), cache.done)
    found = cache.gather(shards)
    return together([found.get(image, unasked(asked)) for image in images], aspect, asked)
