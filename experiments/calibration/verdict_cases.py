"""Cases that a verdict is judged by: images, a list of words, and the groups that the command makes of both.

Images: drawn scenes and photographs, each seen by the checkpoint that was made for them and by others; embeddings with
noise, as of a checkpoint that sees less; parts of a set. Words: the true ones; too many (with others of the vocabulary)
and too few; found by the images, as the command does it where none are given; wrong ones, which fit no aspect of the
images; and true ones of images that all have one value.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

DIFFICULTIES = (0, 1, 2)
DRAWN = ("fruit", "card", "cars", "aloi", "fruit360", "cmuface", "flowers")  # families of drawn scenes
NOISE = 1.0  # added to embeddings, in their spread
# Set of photographs: checkpoint, subject, and the aspects that the checkpoint's README says it sees.
PHOTOGRAPHS = {
    "cards": ("photo-mini", "card", ("order", "suits")),
    "flowers": ("photo-mini", "flower", ("color", "species")),
    "cars": ("photo-mini", "car", ("color",)),
    "faces": ("photo-mini", "face", ("identity", "pose")),
    "fashion": ("fashion-mini", "product", ("color", "type", "gender")),
}
# Other words for the subject.
SUBJECTS = {
    "cards": ("object",),
    "faces": ("person",),
    "flowers": ("object",),
    "cars": ("vehicle",),
    "fashion": ("clothing", "item"),
}
NO_ASPECT = ("core", "half")  # columns of labels.csv
SUBSETS, SUBSET = 2, 400  # images of a set that has more
# Aspects of the vocabulary that wrong words are of, and the sets whose images they may fit after all.
WRONG = {
    "species of animal": (), "species of bird": (), "weather": (), "sport": (), "drink": (), "furniture": (),
    "instrument": (), "cuisine": (), "suits of card": ("card", "cards"), "species of flower": ("flowers",),
    "species of fruit": ("fruit", "fruit360"), "clothing": ("fashion", "faces", "cmuface"),
    "emotion": ("faces", "cmuface"), "body type of car": ("cars",),
}  # fmt: skip
WRONG_LISTS, WRONG_WORDS = 2, 6  # lists for each aspect, and words of a list that is given
ALIKE = 20  # images of one value, at least


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images as an encoder sees them. embeddings: [images, embed]. labels: by aspect."""

    name: str
    drawn: bool
    encoder: str
    subject: str
    embeddings: np.ndarray
    labels: dict[str, np.ndarray]
    noise: float = 0.0

    def some(self, count: int, seed: int) -> ImageSet:
        """This many of the images, or all."""
        random = np.random.default_rng(seed)
        drawn = np.sort(random.choice(len(self.embeddings), min(count, len(self.embeddings)), replace=False))
        return self.at(drawn)

    def at(self, images: np.ndarray) -> ImageSet:
        labels = {aspect: truth[images] for aspect, truth in self.labels.items()}
        return dataclasses.replace(self, embeddings=self.embeddings[images], labels=labels)

    def noisy(self, amount: float, seed: int) -> ImageSet:
        """With noise of so many times the embeddings' root mean square distance from their mean."""
        rows, random = self.embeddings.astype(np.float64), np.random.default_rng(seed)
        spread = np.sqrt(np.square(rows - rows.mean(0)).sum(1).mean() / rows.shape[1])
        rows = rows + amount * spread * random.standard_normal(rows.shape)
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return dataclasses.replace(self, embeddings=rows, noise=amount)


def drawn_sets(name: str, clips: dict, images: int, seed: int, cache: Path | None = None) -> Iterator[ImageSet]:
    """Of a family of drawn scenes; clips: by name; all but "embedded" see the easy ones alone."""
    from experiments.evaluation import datasets
    from multimap_jax.scenes import SCENES

    for difficulty in DIFFICULTIES:
        twin = datasets.twin(name, images, seed, difficulty)
        labels = {aspect: truth for aspect, truth in twin.labels.items() if len(set(truth)) > 1}
        for encoder, clip in clips.items():
            if encoder == "embedded" or difficulty == 0:
                rows = embedded(clip, encoder, twin.images, cache, f"{name}-{difficulty}-{images}-{seed}")
                subject = SCENES[name].subject
                found = ImageSet(f"{name} {difficulty}", True, encoder, subject, rows, labels)
                yield found
                if encoder == "embedded" and difficulty != 1:
                    yield found.noisy(NOISE, seed)


def photograph_sets(folder: str, clips: dict, data: Path, cache: Path | None = None) -> Iterator[ImageSet]:
    """Of a folder of photographs; those with noise and of other subjects by their own checkpoint alone."""
    from experiments.evaluation import datasets

    own, subject, _ = PHOTOGRAPHS[folder]
    images, rows = datasets.read_table(data / folder)
    labels = {name: np.array([row[name] for row in rows]) for name in rows[0] if name not in NO_ASPECT}
    for encoder, clip in clips.items():
        seen = embedded(clip, encoder, images, cache, f"{folder}-{len(images)}")
        whole = ImageSet(folder, False, encoder, subject, seen, labels)
        first = whole.some(SUBSET, 0)
        yield first
        if encoder == own:
            yield from (whole.some(SUBSET, subset) for subset in range(1, SUBSETS) if len(images) > SUBSET)
            yield from (dataclasses.replace(first, subject=other) for other in SUBJECTS[folder])
            yield first.noisy(NOISE, 0)


def with_memory(clip):
    """The checkpoint, which embeds a text once."""
    known, embed = {}, clip.embed_texts

    def embed_texts(texts, normalize: bool = True) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, embed(new)))
        return np.stack([known[text] for text in texts])

    clip.embed_texts = embed_texts
    return clip


def embedded(clip, encoder: str, images, cache: Path | None, key: str) -> np.ndarray:
    """Embeddings, kept in the folder `cache` if there is one."""
    path = cache / f"{encoder}-{key}.npy" if cache else None
    if path and path.exists():
        return np.load(path)
    rows = clip.embed_images(images)
    if path:
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, rows)
    return rows


def word_lists(clip, images: ImageSet, aspect: str, vocabulary) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(kind, words) of lists for an aspect of the images."""
    import multimap_jax as mm
    from multimap_jax.prompts.normalize import normal_form
    from multimap_jax.words.choose import choose_words
    from multimap_jax.words.find import seen_words
    from multimap_jax.words.vocabulary import vocabulary_words

    def chosen(words) -> tuple[str, ...]:
        return choose_words(clip, images.embeddings, mm.Aspect(aspect, images.subject, words)).words

    text = f"{images.name} {images.subject} {images.encoder} {images.noise} {aspect}"
    random = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))
    true = words_of(images.labels[aspect])
    known = seen_words(clip, mm.Aspect(aspect, images.subject, vocabulary_words(vocabulary, aspect, images.subject)))
    forms = {normal_form(word) for word in true}
    others = [word for word in known.words if normal_form(word) not in forms]
    yield "true", true
    if others:
        yield "too many", (*true, *random.permutation(others)[: max(2, len(true))].tolist())
    if len(true) >= 4:
        yield "too few", tuple(sorted(random.permutation(true)[: len(true) // 2].tolist()))
    if len(known.words) > 1:
        yield "found", chosen(known.words)
    wrong = [name for name, fitting in WRONG.items() if images.name.split()[0] not in fitting]
    for name in random.permutation(wrong)[:WRONG_LISTS].tolist():
        yield "wrong", vocabulary[name][:WRONG_WORDS]
        yield "wrong, found", chosen(vocabulary[name])


def rate(clip, images: ImageSet, vocabulary) -> Iterator[dict]:
    """A row for each list of words and each number of groups: the verdict's criteria, and the NMI of the groups. Found
    words make as many groups as the command chooses, and as many as there are labels. Wrong words and images of one
    value are not grouped."""
    import multimap_jax as mm

    place = {"set": images.name, "drawn": images.drawn, "encoder": images.encoder}
    place |= {"noise": images.noise, "images": len(images.embeddings), "subject": images.subject}
    for aspect, truth in images.labels.items():
        for kind, words in word_lists(clip, images, aspect, vocabulary):
            asked = mm.Aspect(aspect, images.subject, words)
            found = mm.diagnose(clip, images.embeddings, asked)
            row = place | {"aspect": aspect, "kind": kind, "words": len(words)} | criteria(found)
            if kind == "true" and len(alike := np.flatnonzero(truth == mode(truth))) >= ALIKE:
                yield row | {"kind": "one value"} | criteria(mm.diagnose(clip, images.embeddings[alike], asked))
            if kind.startswith("wrong"):
                yield row
                continue
            numbers = {kind: len(words)} if kind != "found" else {kind: "auto", "found, true number": len(set(truth))}
            for name, clusters in numbers.items():
                yield row | {"kind": name} | grouped(clip, images.embeddings, asked, clusters, truth)


def words_of(truth: np.ndarray) -> tuple[str, ...]:
    return tuple(sorted(set(truth.tolist())))


def criteria(found) -> dict:
    from multimap_jax.prompts.separability import CRITERIA

    return {name: round(getattr(found, name), 4) for name in CRITERIA}


def mode(truth: np.ndarray) -> str:
    """The commonest label."""
    values, sizes = np.unique(truth, return_counts=True)
    return values[sizes.argmax()]


def grouped(clip, embeddings: np.ndarray, asked, clusters, truth: np.ndarray) -> dict:
    """Number and NMI of the groups that `MultiMaP` makes."""
    import multimap_jax as mm

    fitted = mm.MultiMaP(asked, clip, clusters).fit(embeddings)
    return {"groups": fitted.n_clusters_, "nmi": round(float(mm.evaluate(truth, fitted.labels_)["nmi"]), 4)}
