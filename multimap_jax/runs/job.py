"""The job of a run, and the checks that need no image to be opened."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from multimap_jax.choices import ANSWER, AUTO
from multimap_jax.clustering.kmeans import check_clusters
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.errors import InputError
from multimap_jax.estimator import MultiMaP
from multimap_jax.features import table as features
from multimap_jax.prompts.aspect import Aspect
from multimap_jax.prompts.separability import check_compared_prompts
from multimap_jax.proxies.recipes import ProxyConfig
from multimap_jax.proxies.solver import default_block_size
from multimap_jax.runs.distributed.process_group import ALONE, Processes
from multimap_jax.runs.evaluation import Truth, read_labels
from multimap_jax.runs.messages import count
from multimap_jax.runs.results import COLUMNS, check_own
from multimap_jax.settings import ImageSettings, Settings
from multimap_jax.sources.detect import open_source
from multimap_jax.sources.embeddings import ReadyEmbeddings, read_embeddings
from multimap_jax.sources.source import Source
from multimap_jax.storage.output import prepare_folder
from multimap_jax.words.look import Look, check_allowed
from multimap_jax.words.vocabulary import Vocabulary
from multimap_jax.words.word_sources import WordSources


@dataclasses.dataclass(frozen=True)
class Job:
    """What to do. `clusters` and `contrast` are by aspect name, with numbers of groups as MultiMaP takes them. `find`:
    aspect without given words -> source of words (see `words.word_sources`)."""

    images: Path  # or embeddings, if `ready`
    aspects: tuple[Aspect, ...]
    clusters: dict[str, int | str]
    contrast: dict[str, tuple[str, ...]]
    config: ProxyConfig
    clip: str
    labels: Path | None
    out: Path
    image_settings: ImageSettings = ImageSettings()
    settings: Settings = Settings()
    fresh: bool = False
    ready: bool = False
    processes: Processes = ALONE
    find: dict[str, str] = dataclasses.field(default_factory=dict)
    sources: WordSources = WordSources()
    line: str = ""  # the typed command
    flags: dict = dataclasses.field(default_factory=dict)  # for `multimap --config`
    exact_subject: bool = False  # whether to try no other subject
    addresses: bool = True  # whether a list of images may contain addresses
    look: Look | None = None  # a model that is asked about the images, for these aspects
    look_aspects: tuple[str, ...] = ()
    allowed: bool = False  # whether images may be sent to another machine

    def looks_at(self, aspect: Aspect) -> bool:
        """Whether the model is asked about an aspect."""
        return self.look is not None and aspect.name in self.look_aspects

    def kind(self, aspect: Aspect) -> str:
        """The features of an aspect, a key of `features.table.FEATURE_KINDS`."""
        kind = features.choose(ANSWER if self.looks_at(aspect) else self.settings.features, aspect, self.config)
        if kind == ANSWER and not self.looks_at(aspect):
            raise InputError(f"features {kind!r} of {aspect.name} need a model to ask: give its address", "look")
        return kind

    def needs_proxies(self, aspect: Aspect) -> bool:
        """Whether an aspect needs proxies of its images."""
        return self.settings.keep_proxies or features.FEATURE_KINDS[self.kind(aspect)].proxies

    def needs_group_proxies(self, aspect: Aspect) -> bool:
        return features.FEATURE_KINDS[self.kind(aspect)].group_proxies and len(aspect.words) < self.least_clusters(
            aspect
        )

    def least_clusters(self, aspect: Aspect) -> int:
        """The number of groups; 1 if the run chooses it."""
        clusters = self.clusters[aspect.name]
        return 1 if clusters == AUTO else int(clusters)


@dataclasses.dataclass(frozen=True)
class CheckedJob:
    """A job whose inputs were checked.

    Attributes:
      source: its images. truth: true labels of images that have one; None if no labels are given.
      vocabulary: the words for naming groups. ready: existing embeddings, None if there are none.
    """

    job: Job
    source: Source
    truth: Truth | None
    vocabulary: Vocabulary
    ready: ReadyEmbeddings | None = None


def check_job(job: Job) -> CheckedJob:
    """Checks everything that needs no checkpoint, and creates the output folder.

    Raises ValueError, FileNotFoundError, NotADirectoryError or OSError, each with one sentence.
    """
    ready = read_embeddings(job.images) if job.ready else None
    source = ready.source if ready else open_source(job.images, addresses=job.addresses)
    vocabulary = job.sources.vocabulary()
    names = [aspect.name for aspect in job.aspects]
    columns = {"image", *(f"{name}: {column}" for name in names for column in COLUMNS)}
    for aspect in job.aspects:
        if aspect.name in columns:
            message = f"an aspect cannot be called {aspect.name!r}, which is a column of the results: rename it"
            raise InputError(message, "aspect")
        if aspect.name not in job.find:
            job.kind(aspect)
        check_clusters(job.least_clusters(aspect), len(source.images))
    if any(map(job.looks_at, job.aspects)):
        check_allowed(job.look, len(source.images), job.allowed)
    truth = None if job.labels is None else read_labels(job.labels, names, source.images, job.images)
    prepare_folder(job.out)
    check_own(job.out, job.labels)
    return CheckedJob(job, source, truth, vocabulary, ready)


def make_models(plan: CheckedJob, clip: Clip, progress: bool) -> list[MultiMaP]:
    """A checked but unfitted model for every aspect. ValueError or TypeError as in `MultiMaP.check`, or for blocks that
    these images cannot fill."""
    job, images = plan.job, len(plan.source.images)
    block, most = job.config.block_size, max(images, default_block_size(clip.shares_prompt))
    if block is not None and block > most:
        raise InputError(
            f"block_size is {block:,}, expected at most {most:,} for {count(images, 'image')}: a larger block would "
            "compute only padding",
            "block_size",
        )
    models = [
        MultiMaP(
            aspect,
            clip,
            n_clusters=job.clusters[aspect.name],
            contrast=job.contrast[aspect.name],
            config=job.config,
            progress=progress,
            **dataclasses.asdict(job.settings)
            | {"features": ANSWER if job.looks_at(aspect) else job.settings.features},
        )
        for aspect in job.aspects
    ]
    for model in models:
        model.check()
        if len(model.aspect.words) > 1 and model.features != ANSWER:
            check_compared_prompts(clip, model.aspect)
    return models
