"""Scenes drawn by processes of their own into one shared array, from which training batches are taken at once."""

import dataclasses
import multiprocessing
import os
import time
from multiprocessing import shared_memory

import numpy as np
from PIL import Image

from experiments.training.captions import all_words
from multimap_jax.scenes.registry import SCENES


def shrink(picture, size):
    """uint8 [h, w, 3] -> uint8 [size, size, 3] as CLIP's preprocessing does it for a square picture."""
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))


def label_columns():
    """What a row of labels holds: the subjects, then for each aspect of any family all of its words."""
    subjects = list(dict.fromkeys(scene.subject for scene in SCENES.values()))
    aspects = {}
    for scene in SCENES.values():
        for aspect, words in all_words(scene).items():
            aspects.setdefault(aspect, {}).update(dict.fromkeys(words))
    return subjects, {aspect: list(words) for aspect, words in aspects.items()}


COLUMNS = label_columns()


def encode_labels(subject, labels):
    """A subject (None: any) and labels as a row of numbers: the subject's, then each aspect's word's; -1: not said."""
    subjects, aspects = COLUMNS
    words = [words.index(labels[aspect]) if aspect in labels else -1 for aspect, words in aspects.items()]
    return [-1 if subject is None else subjects.index(subject), *words]


def label_width():
    """The length of a row of `encode_labels`."""
    return 1 + len(COLUMNS[1])


def draw_random(generator, shares, share_of_more):
    """One picture for training and its labels as a row.

    shares: scene name -> its share of the pictures. share_of_more: how often words that only training draws may occur.
    """
    scene = SCENES[generator.choice(list(shares), p=list(shares.values()))]
    words = all_words(scene) if generator.random() < share_of_more else scene.aspects
    labels = {aspect: words[aspect][generator.integers(len(words[aspect]))] for aspect in scene.aspects}
    return scene.draw(generator, labels), encode_labels(scene.subject, labels)


@dataclasses.dataclass
class Pool:
    """Pictures uint8 [pictures, size, size, 3], label rows int [pictures, columns]; worker w has places w, w + n, …"""

    pictures: np.ndarray
    labels: np.ndarray
    drawn: np.ndarray  # int [workers]: how many each worker has filled in all
    _memory: tuple
    _workers: list

    @classmethod
    def start(cls, capacity, size, shares, seed, share_of_more=0.35, workers=2, full_speed=20_000, idle=10.0):
        """Start drawing. Up to `full_speed` pictures at full speed, then resting `idle` times as long as it draws."""
        shapes = (
            ((capacity, size, size, 3), np.uint8),
            ((capacity, label_width()), np.int64),
            ((workers,), np.int64),
        )
        memory = tuple(
            shared_memory.SharedMemory(create=True, size=int(np.prod(shape)) * np.dtype(kind).itemsize)
            for shape, kind in shapes
        )
        names = [block.name for block in memory]
        # "spawn": a fork of a process in which jax runs threads can hang.
        context = multiprocessing.get_context("spawn")
        processes = []
        for worker in range(workers):
            settings = (names, shapes, shares, share_of_more, (seed, worker), full_speed // workers, idle)
            processes.append(context.Process(target=_fill, args=settings, daemon=True))
            processes[-1].start()
        return cls(*_views(memory, shapes), memory, processes)

    def take(self, generator, count):
        """`count` random pictures [count, size, size, 3] and their label rows [count, columns]."""
        worker = generator.integers(len(self.drawn), size=count)
        filled = np.minimum(self.drawn, len(self.pictures) // len(self.drawn))[worker]
        places = worker + len(self.drawn) * generator.integers(filled)
        return self.pictures[places], self.labels[places]

    def wait_for(self, count):
        """Return once `count` pictures are there."""
        while self.drawn.sum() < count or not self.drawn.all():
            dead = [process.exitcode for process in self._workers if not process.is_alive()]
            if dead:
                raise RuntimeError(f"a process that draws ended with exit code {dead[0]}")
            time.sleep(0.2)

    def close(self):
        """Stop drawing and free the memory; the arrays must not be used afterwards."""
        for process in self._workers:
            process.terminate()
            process.join()
        self.pictures = self.labels = self.drawn = None
        for block in self._memory:
            block.close()
            block.unlink()


def _views(memory, shapes):
    return [np.ndarray(shape, kind, block.buf) for block, (shape, kind) in zip(memory, shapes, strict=True)]


def _fill(names, shapes, shares, share_of_more, seed, full_speed, idle):
    """Draw for ever into the shared arrays; when they are full, replace the oldest pictures."""
    os.nice(5)
    memory = [shared_memory.SharedMemory(name=name) for name in names]
    pictures, labels, drawn = _views(memory, shapes)
    worker, generator = seed[1], np.random.default_rng(seed)
    own = range(worker, len(pictures) - len(pictures) % len(drawn), len(drawn))
    while True:
        start = time.monotonic()
        picture, row = draw_random(generator, shares, share_of_more)
        place = own[int(drawn[worker]) % len(own)]
        pictures[place], labels[place] = shrink(picture, pictures.shape[1]), row
        drawn[worker] += 1
        if drawn[worker] > full_speed:
            time.sleep(idle * (time.monotonic() - start))
