"""`MultiMaP`: a scikit-learn estimator that puts images into named groups."""

from __future__ import annotations

import dataclasses
import numbers
import os
import warnings
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from scipy.sparse import issparse
from scipy.special import entr
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import check_is_fitted, check_random_state

from multimap_jax.arrays.rows import Rows, StoredRows
from multimap_jax.arrays.sampling import sample_indices, sample_rows
from multimap_jax.choices import ANSWER, AUTO, NO_SPLIT, FeatureKind
from multimap_jax.clustering.kmeans import (
    check_clusters,
    cluster,
    is_leftover,
    leftover_threshold,
    merge_order,
    nearest,
)
from multimap_jax.clustering.outliers import OUTLIER_IMAGES, fit_inliers
from multimap_jax.clustering.result import AspectResult, Assignment
from multimap_jax.clustering.selection import Candidate, select_n_clusters, stability
from multimap_jax.encoders.clip.model import Clip
from multimap_jax.encoders.load import load_clip
from multimap_jax.encoders.zero_shot import RootProbabilities
from multimap_jax.errors import InputError, InputTypeError, found_text, names_arguments
from multimap_jax.features.answers import MatchedAnswers, match_answers
from multimap_jax.features.table import FEATURE_KINDS, Material, choose
from multimap_jax.images.decoding import AnImage, Images, as_list
from multimap_jax.persistence import OF_PROXIES, read_model, write_model
from multimap_jax.prompts.answers import Answers
from multimap_jax.prompts.aspect import Aspect, check_aspect, check_words, word_embeddings
from multimap_jax.proxies.fit import ProxyFit, check_proxies, fit_proxies
from multimap_jax.proxies.recipes import ProxyConfig, given_or_default
from multimap_jax.report.html import groups_html, of_model
from multimap_jax.settings import Settings
from multimap_jax.storage.filenames import printable, without_secrets
from multimap_jax.storage.output import unwritable
from multimap_jax.words.choose import choose_words
from multimap_jax.words.naming import exemplars, name_groups, typical_distances
from multimap_jax.words.vocabulary import Vocabulary, known_vocabulary

EVEN = 0.95  # smallest effective number of words, relative to their number, of a list that images use evenly
MAJORITY = 0.5  # smallest share of images with the same answer that names the only group
# Input of `fit`: images, or their embeddings.
Given = Images | ArrayLike | StoredRows
# Settings to check; a seed may also be a generator, see `draw_seed`.
CHECKED_SETTINGS = [field.name for field in dataclasses.fields(Settings) if field.name != "random_state"]


@dataclasses.dataclass(eq=False, repr=False)
class MultiMaP(ClusterMixin, BaseEstimator):
    """Groups images by one aspect.

    Args:
      aspect: what to group by.
      clip: a name for `load_clip`, or a loaded Clip.
      n_clusters: number of clusters; None: the number of the aspect's words; "auto": chosen by
        `multimap_jax.clustering.selection.select_n_clusters`.
      contrast: names of other aspects (see `fit_proxies`). Used only where proxies are learnt, so not by features
        "span" with a word for each group.
      config: the recipe; None: the default one. Used only where proxies are learnt, and to choose `features`.
      features: features for k-means. None: "span" for the default recipe and two or more words, otherwise "proxy".
        "span": the image in the span of the words, see `multimap_jax.features.span.fit_span`.
        "proxy": the image's proxy word, as in the paper.
        "prompt": the unit embedding of the prompt with the proxy in it.
        "word": the unnormalised embedding of the proxy alone, without a prompt.
        "image": the unit image embedding.
        "proxy+image": proxy and image embedding side by side, each as a unit row.
        "answer": the prompt with what a model that looked at the image said, see `multimap_jax.look`. None means this
        where `fit` gets answers.
      random_state: seed of k-means (and of the released recipe's batch order); an integer, None or a RandomState.
      progress: whether to show progress bars on stderr.
      keep_proxies: whether to learn proxies for the images even if the features need none.
      leftover: share of images to leave unassigned, lowest confidence first; 0 or more and less than 1. `leftover_`
        marks them; `labels_` keeps their nearest group.

    Attributes:
      labels_: int [images], 0 … n_clusters_ - 1, the largest group first; of images in `leftover_` the nearest group.
        -1 for an image without an answer, if the features are answers.
      distances_: float [images], distance to the centroid of the image's cluster. confidence_: float [images], 0 … 1.
        outliers_, leftover_: bool [images]. See `multimap_jax.clustering.result.Assignment`.
      cluster_centers_: float64 [n_clusters_, features].
      cluster_names_: list of n_clusters_ unique names. cluster_confidences_: float [n_clusters_], 0 … 1, the confidence
        of each name. See `multimap_jax.words.naming.name_groups`.
      cluster_stability_: float [n_clusters_], 0 … 1, how well half of the images reproduce each cluster; see
        `multimap_jax.clustering.selection.stability`.
      exemplars_: list of n_clusters_ int arrays, images that show a cluster, the one nearest to its centroid first.
      n_clusters_table_: for "auto" a list of `multimap_jax.clustering.selection.Candidate`, the best first; otherwise
        empty.
      merge_order_: the most similar clusters, see `multimap_jax.clustering.kmeans.merge_order`.
      projection_: float64 [embed, axes], for features "span" (0 axes for others).
      n_features_in_: embedding dimension. features_: the kind used. seed_: the integer used.
      answers_: the `Answers` of features "answer", None for others.

    Only if the features need proxies or `keep_proxies` is true, otherwise AttributeError:
      proxies_: float32 [images, width]. prompt_embeddings_: float32 [images, embed]. reference_: int [images].
      losses_: float32 [steps]. loss_: float32 [images]. block_size_, image_steps_: see `ProxyFit`.
    """

    aspect: Aspect
    clip: str | Clip = "embedded"
    n_clusters: int | str | None = None
    _: dataclasses.KW_ONLY
    contrast: Sequence[str] = ()
    config: ProxyConfig | None = None
    features: FeatureKind | None = None
    random_state: int | np.random.RandomState | None = 0
    progress: bool = False
    keep_proxies: bool = False
    leftover: float = 0.0

    def __getattr__(self, name: str) -> Any:
        if name not in OF_PROXIES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if "features_" not in vars(self):
            raise AttributeError(f"{name} is only available after fit")
        raise AttributeError(
            f"{name} is not available: features {self.features_!r} need no proxies of images; fit with "
            "MultiMaP(…, keep_proxies=True) to learn them"
        )

    @names_arguments
    def check(self, answers: Answers | None = None) -> int | None:
        """Checks everything but the images; returns the number of clusters, None if `fit` chooses it. answers: those
        that `fit` gets, if any.

        Raises InputError or InputTypeError, with a sentence.
        """
        check_aspect(self.aspect)
        kind, config, clip = (
            choose(self._kind(answers), self.aspect, self._config()),
            self._config(),
            self._clip(),
        )
        if self.n_clusters is None and not self.aspect.words:
            raise InputError(
                f'aspect {self.aspect.name!r} has no words: give the number of groups, or "auto"', "n_clusters"
            )
        clusters = self._clusters()
        Settings(**{name: getattr(self, name) for name in CHECKED_SETTINGS})  # checks them
        check_seed(self.random_state)
        check_words(self.aspect, clip, self.contrast)
        feature = FEATURE_KINDS[kind]
        if feature.proxies or self.keep_proxies or (feature.group_proxies and len(self.aspect.words) < (clusters or 0)):
            check_proxies(clip, self.aspect, self.contrast, config)
        return clusters

    def _clusters(self) -> int | None:
        """The requested number, None if `fit` chooses it. InputTypeError or InputError for anything else."""
        if isinstance(self.n_clusters, str) and self.n_clusters == AUTO:
            return None
        if not isinstance(self.n_clusters, (numbers.Integral, type(None))):
            raise InputTypeError(f'expected a whole number, None or "auto", found {self.n_clusters!r}', "n_clusters")
        clusters = len(self.aspect.words) if self.n_clusters is None else int(self.n_clusters)
        if clusters < 1:
            raise InputError(f"{clusters} groups requested, expected 1 or more", "n_clusters")
        return clusters

    @names_arguments
    def fit(
        self,
        X: Given,
        y: object = None,
        *,
        proxies: ProxyFit | None = None,
        names: Sequence | None = None,
        vocabulary: Vocabulary | None = None,
        answers: Answers | None = None,
    ) -> MultiMaP:
        """Groups images.

        Args:
          X: unit image embeddings [images, embed], or anything that `Clip.embed_images` takes. y: ignored.
          proxies: the result of `fit_proxies` for X with the same settings, if it exists. Only the number of images is
            checked, not the settings.
          names: of the images, which determine the sample for k-means if there are many; None: their indices.
          vocabulary: names groups that the aspect's words do not fit; None: the built-in one.
          answers: about X, for features "answer" (see `multimap_jax.look`). An image without an answer is left out of
            the groups: its label is -1.
        """
        clusters = self.check(answers)
        if isinstance(X, Sized) and not (isinstance(X, str) or issparse(X)) and len(X):
            check_clusters(clusters or 1, len(X))
        embeddings = self._embeddings(X)
        check_clusters(clusters or 1, len(embeddings))
        self._forget()
        config, clip, seed = self._config(), self._clip(), draw_seed(self.random_state)
        kind = choose(self._kind(answers), self.aspect, config)
        feature = FEATURE_KINDS[kind]
        check_fit(proxies, len(embeddings))
        check_answers(answers, len(embeddings), kind)
        if proxies is None and (feature.proxies or self.keep_proxies):
            proxies = self._fit_proxies(embeddings, config, seed)
        names = range(len(embeddings)) if names is None else names
        drawn = sample_indices(names, seed)
        projection: np.ndarray | None = None
        begin: np.ndarray | None = None
        self.answers_ = answers if feature.answers else None
        matched = self._matched(self.answers_)
        material = Material(clip, config, embeddings, proxies, projection, matched)
        known = None if feature.fit else feature.rows(material)
        sample, sample_names = sample_rows(
            np.arange(len(embeddings)), names, 0, OUTLIER_IMAGES
        )  # so that names are hashed once
        self.inliers_ = fit_inliers(embeddings[sample], sample_names)
        if matched is not None:  # the others are in no group
            kept = np.flatnonzero(matched.index[sample] >= 0)
            sample, sample_names = sample[kept], [sample_names[i] for i in kept.tolist()]
        candidates: list[Candidate] = []
        if clusters is None:
            sampled = None if known is None else known[sample]
            candidates = self._select_n_clusters(embeddings[sample], sampled, sample_names, matched)
            clusters = candidates[0].groups
        if feature.fit:
            span = feature.fit(clip, embeddings, self.aspect, clusters, self.contrast, config, seed, drawn)
            projection, begin = span.projection, span.labels
            material = dataclasses.replace(material, projection=projection)
        rows = feature.rows(material) if known is None else known
        if matched is None:
            groups = cluster(rows, clusters, seed, drawn, begin)
        else:
            groups = matched.cluster(clusters, seed)
        self.labels_, self.cluster_centers_, self.distances_ = groups.labels, groups.centroids, groups.distances
        self.confidence_, self.spread_, self.n_clusters_table_ = groups.confidences, groups.spread, candidates
        self.n_clusters_, self.n_features_in_ = clusters, embeddings.shape[1]
        self.cluster_stability_ = stability(rows[sample], groups.labels[sample], clusters, sample_names)
        self._describe(embeddings, drawn, known_vocabulary(vocabulary), matched)
        self.projection_ = np.zeros((embeddings.shape[1], 0)) if projection is None else projection
        if proxies is not None:
            self.proxies_, self.prompt_embeddings_ = proxies.proxies, proxies.prompt_embeddings
            self.reference_, self.losses_, self.loss_ = proxies.reference, proxies.losses, proxies.loss
            self.block_size_, self.image_steps_ = proxies.block_size, proxies.image_steps
        self.features_, self.seed_ = kind, seed
        self._paths = image_paths(X)
        return self

    def _kind(self, answers: object) -> FeatureKind | None:
        """The requested kind of features; answers are used unless another kind was asked for."""
        return ANSWER if self.features is None and answers is not None else self.features

    def _matched(self, answers: Answers | None) -> MatchedAnswers | None:
        """Answers as rows, compared with those of `fit`; None without answers. The last ones are kept, because matching
        may take a while."""
        if answers is None:
            return None
        last, known = vars(self).get("_last_matched", (None, None))
        if last is answers:
            return known
        words, fitted = len(self.aspect.words), self.answers_ and self.answers_.texts
        unfit = words > 1 and (self._clusters() or 0) > words
        matched = match_answers(self._clip(), self.aspect, answers, unfit, fitted or ())
        if not len(matched.answered):
            why = next(iter(matched.reasons.values()), "there are no images")
            raise InputError(f"none of {len(answers):,} images has an answer that can be used: {why}", "answers")
        self._last_matched = (answers, matched)
        return matched

    def _describe(
        self,
        embeddings: np.ndarray | StoredRows,
        drawn: np.ndarray | None,
        vocabulary: Vocabulary,
        matched: MatchedAnswers | None,
    ) -> None:
        """Sets the attributes that describe the clusters. drawn: the images used for naming, None for all."""
        k, labels = self.n_clusters_, self.labels_
        grouped = slice(None) if matched is None else matched.answered
        self.merge_order_ = merge_order(self.cluster_centers_, np.bincount(labels[grouped], minlength=k))
        self.leftover_threshold_ = leftover_threshold(
            self.confidence_[grouped], self.distances_[grouped], self.leftover
        )
        self.leftover_ = is_leftover(self.confidence_, self.distances_, self.leftover_threshold_) | (labels < 0)
        self.outliers_ = self.inliers_.outliers(embeddings)
        # Images with the same answer are equally near to their centroid: the most alike are typical.
        distances = self.distances_ if matched is None else typical_distances(embeddings, labels, k)
        self.exemplars_ = exemplars(embeddings, labels, distances, k)
        no_split = k == 1 and self.n_clusters == AUTO
        if matched is not None:
            names, confidences = matched.names(labels, self.cluster_centers_)
            no_split = no_split and confidences[0] < MAJORITY  # else nearly all images have one answer
        if no_split:
            names, confidences = [NO_SPLIT], np.zeros(1)
        elif matched is None:
            rows, labels = (embeddings, labels) if drawn is None else (embeddings[drawn], labels[drawn])
            names, confidences = name_groups(self._clip(), rows, self.aspect, labels, k, vocabulary)
        self.cluster_names_, self.cluster_confidences_ = names, confidences

    @names_arguments
    def predict(self, X: Given, answers: Answers | None = None) -> np.ndarray:
        """Labels of new images, int [images]: the centroid nearest to their features. X, answers as in `fit`.

        Features with proxies need proxies learnt for these images; "span" and "image" need none, "answer" answers.

        For the images of `fit` it returns `labels_`. ValueError for the released recipe with weight decay, where a
        proxy depends on the other images.
        """
        return self.assign(X, answers).labels

    @names_arguments
    def assign(self, X: Given, answers: Answers | None = None) -> Assignment:
        """The clusters of new images. X, answers, errors: as in `predict`."""
        return self.assign_with_rows(X, answers)[0]

    def assign_with_rows(self, X: Given, answers: Answers | None = None) -> tuple[Assignment, Rows]:
        """(result of `assign`, features of the images for k-means, rows [images, d]). X, answers, errors: as in
        `predict`."""
        check_is_fitted(self)
        config, feature, proxies = self._config(), FEATURE_KINDS[self.features_], None
        if feature.proxies and config.batches_matter:
            raise InputError(
                f"cannot predict new images under the {config.recipe} recipe with weight decay, where a proxy depends "
                "on all fitted images: fit all images together, or without weight decay",
                "weight_decay",
            )
        embeddings = self._embeddings(X)
        check_answers(answers, len(embeddings), self.features_)
        matched = self._matched(answers) if feature.answers else None
        if feature.proxies:
            config = dataclasses.replace(config, block_size=self.block_size_)
            proxies = self._fit_proxies(embeddings, config, self.seed_)
        rows = feature.rows(Material(self._clip(), config, embeddings, proxies, self.projection_, matched))
        if matched is None:
            labels, distances, confidences = nearest(rows, self.cluster_centers_, self.spread_)
        else:
            labels, distances, confidences = matched.nearest(self.cluster_centers_, self.spread_)
        left = is_leftover(confidences, distances, self.leftover_threshold_) | (labels < 0)
        return Assignment(labels, distances, confidences, self.inliers_.outliers(embeddings), left), rows

    def fitted(self) -> Assignment:
        """The clusters of the images of `fit`."""
        check_is_fitted(self)
        return Assignment(self.labels_, self.distances_, self.confidence_, self.outliers_, self.leftover_)

    def result(self, assignment: Assignment, answers: Answers | None = None) -> AspectResult:
        """The record of the clusters with the images of an assignment. answers: those that led to it."""
        proxies: dict[str, int | float] | None = None
        if hasattr(self, "proxies_"):
            proxies = {"block_size": int(self.block_size_), "image_steps": int(self.image_steps_)}
            proxies |= {"final_loss": float(self.loss_.mean())}
        matched = self._matched(answers)
        if answers is not None and matched is not None:
            answers = dataclasses.replace(answers, reasons=matched.reasons)
        if self.cluster_names_ == [NO_SPLIT]:  # with one group, confidence means nothing
            assignment = dataclasses.replace(assignment, confidences=np.full_like(assignment.confidences, np.nan))
        return AspectResult(
            self.aspect,
            self.contrast,
            self.features_,
            self.n_clusters,
            assignment,
            self.cluster_names_,
            self.cluster_confidences_,
            self.cluster_stability_,
            self.n_clusters_table_,
            self.merge_order_,
            proxies,
            answers=answers,
        )

    def fitted_rows(self, embeddings: np.ndarray | StoredRows) -> Rows:
        """The features that k-means ran on, rows [images, d], for the images of `fit`.

        embeddings: of these images, in that order.
        """
        check_is_fitted(self)
        proxies = None
        if FEATURE_KINDS[self.features_].proxies:
            proxies = ProxyFit(**{field: getattr(self, attribute) for attribute, field in OF_PROXIES.items()})
        matched = self._matched(self.answers_)
        material = Material(self._clip(), self._config(), embeddings, proxies, self.projection_, matched)
        return FEATURE_KINDS[self.features_].rows(material)

    @names_arguments
    def save(self, directory: str | Path) -> None:
        """Writes model.json and arrays.npz. Of the checkpoint they contain only its path or hub id, and its hash.

        Raises OSError if the folder cannot be written.
        """
        check_is_fitted(self)
        try:
            write_model(self, self._clip(), Path(directory))
        except OSError as error:
            raise unwritable(Path(directory), error) from None

    def _select_n_clusters(
        self, embeddings: Rows, rows: Rows | None, names: Sequence, matched: MatchedAnswers | None
    ) -> list[Candidate]:
        """Candidates for the number of groups. rows: features of the images; None if they depend on that number. Then
        this uses the probabilities of the words, which the features are fitted to (see `features.span.fit_span`). Where
        there are answers, they are the words."""
        clip, words, even = self._clip(), 0.0, False
        if matched is not None:
            words = float(np.exp(entr(matched.counts / matched.counts.sum()).sum()))
        elif len(self.aspect.words) > 1:
            choice = choose_words(clip, embeddings, self.aspect, names)
            words = float(np.exp(entr(choice.shares).sum()))
            even = len(choice.words) == choice.candidates and words >= EVEN * choice.candidates
        if rows is None:
            texts = word_embeddings(clip, self.aspect).astype(np.float64)
            rows = RootProbabilities(clip, embeddings, texts)
        candidates = select_n_clusters(rows, words, names)
        # If images use all words evenly, the words are a complete list, such as the four suits of cards.
        return sorted(candidates, key=lambda each: even and each.groups != len(self.aspect.words))

    def _repr_html_(self) -> str:
        """For notebooks: the groups, with a few pictures if the model was fitted on paths."""
        if "labels_" not in vars(self):
            return estimator_html_repr(self)
        return groups_html(
            f"{self.aspect.name}: {self.n_clusters_} groups of {len(self.labels_):,} images", of_model(self)
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _forget(self) -> None:
        """Removes the attributes of an earlier fit."""
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)
        self.__dict__.pop("_last_matched", None)

    def _clip(self) -> Clip:
        """The checkpoint, loaded once for each value of `clip`."""
        name, loaded = getattr(self, "_loaded", (None, None))
        if loaded is None or name is not self.clip:
            loaded = load_clip(self.clip)
            self._loaded = (self.clip, loaded)
        return loaded

    def _config(self) -> ProxyConfig:
        return given_or_default(self.config)

    def _embeddings(self, X: Given) -> np.ndarray | StoredRows:
        """X as checked embeddings; images are embedded first, see `holds_rows`."""
        rows: Any = X
        if isinstance(X, StoredRows) or issparse(X):
            return self._clip().check_embeddings(rows)
        if isinstance(X, (list, tuple)) and len(X) and not isinstance(X[0], (str, Image.Image)) and np.ndim(X[0]) < 2:
            rows = np.asarray(X) if fractional(np.asarray(X[0])) else X
        elif hasattr(X, "__array__") and not isinstance(X, Image.Image):
            rows = np.asarray(X)
        if not (isinstance(rows, np.ndarray) and holds_rows(rows)):
            rows = self._clip().embed_images(rows, progress=self.progress)
        return self._clip().check_embeddings(rows)

    def _fit_proxies(self, embeddings: np.ndarray | StoredRows, config: ProxyConfig, seed: int) -> ProxyFit:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # `check` has already warned
            return fit_proxies(
                self._clip(),
                embeddings,
                self.aspect,
                contrast=self.contrast,
                config=config,
                seed=seed,
                progress=self.progress,
            )


def check_fit(proxies: object, images: int) -> None:
    """InputTypeError or InputError for anything but a ProxyFit of as many images, or None."""
    if proxies is None:
        return
    if not isinstance(proxies, ProxyFit):
        raise InputTypeError(f"expected the result of fit_proxies, {found_text(proxies)}", "proxies")
    if len(proxies.proxies) != images:
        number = len(proxies.proxies)
        raise InputError(f"expected proxies of these {images:,} images, found {number:,}: fit them on X", "proxies")


def check_answers(answers: object, images: int, kind: FeatureKind) -> None:
    """InputTypeError or InputError for anything but Answers about as many images, where the features need them."""
    if answers is None and not FEATURE_KINDS[kind].answers:
        return
    if not isinstance(answers, Answers):
        found = "found none" if answers is None else found_text(answers)
        raise InputTypeError(f"features {kind!r} need the answers of mm.look about these images, {found}", "answers")
    if len(answers) != images:
        raise InputError(f"expected answers about {images:,} images, found {len(answers):,}: look at X", "answers")


def image_paths(X: Given) -> list[AnImage] | None:
    """The image files, if X is a folder or paths; otherwise None."""
    if isinstance(X, (str, os.PathLike)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # embedding has already warned
            return as_list(X)
    if isinstance(X, (list, tuple)) and all(isinstance(each, (str, os.PathLike)) for each in X):
        return list(X)
    return None


def holds_rows(array: np.ndarray) -> bool:
    """Whether an array holds embeddings, not images: floating-point numbers, or a table that is not uint8."""
    return fractional(array) or (array.ndim == 2 and array.dtype != np.uint8)


def fractional(array: np.ndarray) -> bool:
    """Whether an array holds floating-point numbers, including JAX's bfloat16."""
    return bool(jax.numpy.issubdtype(array.dtype, np.inexact))


def check_seed(random_state: object) -> None:
    """InputError or InputTypeError for anything but a seed, a RandomState or None."""
    if isinstance(random_state, numbers.Integral):
        if not 0 <= int(random_state) < 2**32:
            found = f"the seed is {random_state}, expected a whole number from 0 to {2**32 - 1:,}"
            raise InputError(found, "random_state")
        return
    try:
        check_random_state(random_state)
    except ValueError:
        found = f"expected a whole number, None or a RandomState, {found_text(random_state)}"
        raise InputTypeError(found, "random_state") from None


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """The seed: an integer unchanged; otherwise one is drawn, as in scikit-learn's estimators."""
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def check_loaded(attributes: dict, clip: Clip, directory: Path) -> None:
    """ValueError if the parts of a model contradict each other or the checkpoint."""
    feature, width = FEATURE_KINDS[attributes["features_"]], clip.embedding_width
    columns, axes = attributes["cluster_centers_"].shape[1], attributes["projection_"].shape[1]
    problem = ""
    if attributes["n_features_in_"] != width:
        problem = f"its embeddings have {attributes['n_features_in_']} dimensions, those of {clip.name} {width}"
    elif feature.fit and columns != axes:
        problem = f"its centroids have {columns} dimensions, its features {axes}"
    elif feature.answers and attributes["answers_"] is None:
        problem = "its features need answers, and it has none"
    elif feature.answers and columns != width:
        problem = f"its centroids have {columns} dimensions, its answers {width}"
    elif feature.proxies and "block_size_" not in attributes:
        problem = "its features need proxies, and it has none"
    if problem:
        raise ValueError(f"the model in {directory} is inconsistent ({problem}): it is damaged; save it again")


@names_arguments
def load(directory: str | Path, clip: str | Clip | None = None) -> MultiMaP:
    """Loads a model written by `MultiMaP.save`. `clip` overrides the location of its checkpoint.

    Raises FileNotFoundError if there is no model, ValueError for another format or another checkpoint (by hash).
    """
    settings, attributes = read_model(Path(directory))
    checkpoint = settings.pop("clip")
    name, digest = checkpoint.name, checkpoint.hash
    if clip is None and name != "embedded" and not Path(name).is_dir():  # the file may come from a stranger
        shown = printable(without_secrets(str(name))[:200])
        message = f"the encoder {shown} of the model in {directory} is not a directory on this machine"
        raise InputError(message, "clip", shown)
    loaded = load_clip(name if clip is None else clip, **checkpoint.image_settings())
    if digest != loaded.hash:
        raise InputError(f"{loaded.place} is not the encoder that {directory} was fitted with: give that one", "clip")
    model = MultiMaP(**settings, clip=loaded)
    check_loaded(attributes, loaded, Path(directory))
    for attribute, value in attributes.items():
        setattr(model, attribute, value)
    return model
