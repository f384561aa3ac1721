"""`MultiMaP`: images to named groups, by scikit-learn's conventions."""

from __future__ import annotations

import dataclasses
import numbers
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import check_is_fitted, check_random_state

from multimap_jax import features as kinds
from multimap_jax.clip.images import as_list
from multimap_jax.clip.model import Clip, load_clip
from multimap_jax.clustering import check_clusters, cluster, draw, fences, nearest, outliers
from multimap_jax.naming import name_groups, word_scores
from multimap_jax.notebook import groups_html, of_model
from multimap_jax.prompts import Aspect, check_words
from multimap_jax.proxies import ProxyFit, check_proxies, fit_proxies
from multimap_jax.recipes import ProxyConfig
from multimap_jax.rows import Pieces
from multimap_jax.saving import OF_PROXIES, read_model, write_model


class MultiMaP(ClusterMixin, BaseEstimator):
    """Groups images by one aspect.

    Args:
      aspect: what to group by.
      clip: a name for `load_clip`, or a loaded Clip.
      n_clusters: number of groups; None: as many as the aspect has words.
      contrast: names of other aspects (see `fit_proxies`).
      config: the recipe; None: the default one.
      features: what k-means runs on, a kind of `features.TABLE`: "span" (see `span.fit_span`), "proxy", "prompt",
        "word", "image" or "proxy+image". None: "span" under the default recipe for two words or more, else "proxy".
      random_state: seed of k-means (and of the released recipe's batch order); an integer, None or a RandomState.
      progress: whether bars are shown on stderr.
      keep_proxies: whether proxies are learnt for the images where the features need none.

    Attributes:
      labels_: int [images], 0 … n_clusters_ - 1, the largest group first.
      distances_: float [images], to the centre of the own group. outliers_: bool [images], far from it.
      cluster_centers_: float64 [n_clusters_, features].
      cluster_names_: list of n_clusters_ unique names. cluster_confidences_: float [n_clusters_], 0 … 1.
      projection_: float64 [embed, axes], of features "span" (axes is 0 with others).
      n_features_in_: embedding dimension. features_: the kind that was used. seed_: the integer that was used.

    Where the features need proxies or `keep_proxies` asks for them, else AttributeError:
      proxies_: float32 [images, width]. prompt_embeddings_: float32 [images, embed]. reference_: int [images].
      losses_: float32 [steps]. loss_: float32 [images]. block_size_, image_steps_: see `ProxyFit`.
    """

    def __init__(
        self,
        aspect: Aspect,
        clip: str | Clip = "embedded",
        n_clusters: int | None = None,
        contrast: tuple[str, ...] = (),
        config: ProxyConfig | None = None,
        features: str | None = None,
        random_state: int | np.random.RandomState | None = 0,
        progress: bool = False,
        keep_proxies: bool = False,
    ):
        self.aspect = aspect
        self.clip = clip
        self.n_clusters = n_clusters
        self.contrast = contrast
        self.config = config
        self.features = features
        self.random_state = random_state
        self.progress = progress
        self.keep_proxies = keep_proxies

    def __getattr__(self, name: str):
        if name not in OF_PROXIES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if "features_" not in vars(self):
            raise AttributeError(f"{name} is there after fit")
        if "proxies_" in vars(self):
            raise AttributeError(f"{name} was not saved with this model, which an earlier version wrote")
        raise AttributeError(
            f"{name} is not there: features {self.features_!r} need no proxies of images; fit with "
            "MultiMaP(…, keep_proxies=True) to have them learnt all the same"
        )

    def check(self) -> int:
        """Looks at everything but the images; returns the number of groups.

        Raises TypeError or ValueError for what is of no use, with a sentence.
        """
        if not isinstance(self.aspect, Aspect):
            raise TypeError(f'aspect: expected an Aspect, such as mm.Aspect("color"), found {self.aspect!r}')
        kind, config, clip = kinds.choose(self.features, self.aspect, self._config()), self._config(), self._clip()
        if self.n_clusters is None and not self.aspect.words:
            raise ValueError(f"aspect {self.aspect.name!r} has no words, so say how many groups: n_clusters=…")
        if not isinstance(self.n_clusters, (numbers.Integral, type(None))):
            raise TypeError(f"n_clusters: expected a whole number or None, found {self.n_clusters!r}")
        clusters = len(self.aspect.words) if self.n_clusters is None else int(self.n_clusters)
        if clusters < 1:
            raise ValueError(f"{clusters} groups asked for, expected 1 or more")
        check_words(self.aspect, clip, self.contrast)
        feature = kinds.TABLE[kind]
        if feature.proxies or self.keep_proxies or (feature.group_proxies and len(self.aspect.words) < clusters):
            check_proxies(clip, self.aspect, self.contrast, config)
        return clusters

    def fit(self, X, y=None, proxies: ProxyFit | None = None, names: Sequence | None = None) -> MultiMaP:
        """X: unit image embeddings [images, embed], or whatever `Clip.embed_images` takes; `y` is not looked at.

        proxies: what `fit_proxies` found for X with the same settings, where that was done before. names: what the
        images are called, for the sample that k-means looks at where there are many; their places if None.
        """
        clusters = self.check()
        if hasattr(X, "__len__") and len(X) and not isinstance(X, str):
            check_clusters(clusters, len(X))
        embeddings = self._embeddings(X)
        check_clusters(clusters, len(embeddings))
        self._forget()
        config, clip, seed = self._config(), self._clip(), draw_seed(self.random_state)
        kind = kinds.choose(self.features, self.aspect, config)
        feature = kinds.TABLE[kind]
        if proxies is None and (feature.proxies or self.keep_proxies):
            proxies = self._fit_proxies(embeddings, config, seed)
        drawn = draw(range(len(embeddings)) if names is None else names, seed)
        projection = begin = None
        if feature.fit:
            span = feature.fit(clip, embeddings, self.aspect, clusters, self.contrast, config, seed, drawn)
            projection, begin = span.projection, span.labels
        rows = feature.rows(kinds.Material(clip, config, embeddings, proxies, projection))
        groups = cluster(rows, clusters, seed, drawn, begin)
        scores = word_scores(clip, embeddings, self.aspect, groups.labels, clusters)
        self.cluster_names_, self.cluster_confidences_ = name_groups(scores, self.aspect.words, self.aspect.name)
        self.labels_, self.cluster_centers_, self.distances_ = groups.labels, groups.centres, groups.distances
        self.outliers_ = outliers(groups.distances, groups.labels)
        self.projection_ = np.zeros((embeddings.shape[1], 0)) if projection is None else projection
        if proxies is not None:
            for attribute, field in OF_PROXIES.items():
                setattr(self, attribute, getattr(proxies, field))
        self.n_clusters_, self.n_features_in_ = clusters, embeddings.shape[1]
        self.features_, self.seed_ = kind, seed
        self._paths = paths_of(X)
        return self

    def predict(self, X) -> np.ndarray:
        """Labels of other images, int [images]: the nearest centre to their features. X as in `fit`.

        Features that hold proxies take proxies learnt for these images; "span" and "image" need none.

        On the images of `fit` it gives `labels_`. ValueError under the released recipe with weight decay, where a
        proxy depends on the images that come with it.
        """
        return self.assign(X)[0]

    def assign(self, X) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(labels int, distances to their centres, whether they are far from every group bool), each [images].

        X, errors: as `predict`.
        """
        return self.assign_with_rows(X)[0]

    def assign_with_rows(self, X) -> tuple:
        """(what `assign` gives, what k-means would run on [images, d] as the module `rows` has it). X, errors: as
        `predict`."""
        check_is_fitted(self)
        config, feature, proxies = self._config(), kinds.TABLE[self.features_], None
        if feature.proxies and config.batches_matter:
            raise ValueError(
                f"under the {config.recipe} recipe with weight decay a proxy depends on all images fitted with it, so "
                "new images cannot be predicted: fit them together, or use weight_decay=0"
            )
        embeddings = self._embeddings(X)
        if feature.proxies:
            config = dataclasses.replace(config, block_size=self.block_size_)
            proxies = self._fit_proxies(embeddings, config, self.seed_)
        rows = feature.rows(kinds.Material(self._clip(), config, embeddings, proxies, self.projection_))
        labels, distances = nearest(rows, self.cluster_centers_)
        far = distances > fences(self.distances_, self.labels_, self.n_clusters_)[labels]
        return (labels, distances, far), rows

    def fitted_rows(self, embeddings: np.ndarray | Pieces):
        """What k-means ran on, [images, d] as the module `rows` has it, of the images of `fit`.

        embeddings: theirs, in that order.
        """
        check_is_fitted(self)
        proxies = None
        if kinds.TABLE[self.features_].proxies:
            proxies = ProxyFit(**{field: getattr(self, attribute) for attribute, field in OF_PROXIES.items()})
        material = kinds.Material(self._clip(), self._config(), embeddings, proxies, self.projection_)
        return kinds.TABLE[self.features_].rows(material)

    def save(self, directory: str | Path) -> None:
        """Writes model.json and arrays.npz. The checkpoint is not in them, only its name and hash."""
        check_is_fitted(self)
        write_model(self, self._clip(), Path(directory))

    def _repr_html_(self) -> str:
        """For notebooks: the groups, with a few pictures where the model was fitted on paths."""
        if "labels_" not in vars(self):
            return estimator_html_repr(self)
        return groups_html(
            f"{self.aspect.name}: {self.n_clusters_} groups of {len(self.labels_):,} images", of_model(self)
        )

    def _repr_mimebundle_(self, **_) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _forget(self) -> None:
        """What an earlier fit left."""
        for name in [name for name in vars(self) if name.endswith("_") and not name.startswith("_")]:
            delattr(self, name)

    def _clip(self) -> Clip:
        """The loaded checkpoint, read once for one value of `clip`."""
        name, loaded = getattr(self, "_loaded", (None, None))
        if loaded is None or name is not self.clip:
            loaded = load_clip(self.clip)
            self._loaded = (self.clip, loaded)
        return loaded

    def _config(self) -> ProxyConfig:
        return self.config or ProxyConfig()

    def _embeddings(self, X) -> np.ndarray | Pieces:
        """X as checked embeddings; images are embedded, whatever holds numbers with a fraction is taken for rows."""
        rows = X
        if isinstance(X, Pieces):
            return self._clip().check_embeddings(X)
        if isinstance(X, (list, tuple)) and len(X) and not isinstance(X[0], (str, Image.Image)) and np.ndim(X[0]) < 2:
            rows = np.asarray(X) if fractional(np.asarray(X[0])) else X
        elif hasattr(X, "__array__") and not isinstance(X, Image.Image):
            rows = np.asarray(X)
        if not (isinstance(rows, np.ndarray) and fractional(rows)):
            rows = self._clip().embed_images(rows, progress=self.progress)
        return self._clip().check_embeddings(rows)

    def _fit_proxies(self, embeddings: np.ndarray, config: ProxyConfig, seed: int) -> ProxyFit:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # said by check
            return fit_proxies(
                self._clip(), embeddings, self.aspect, self.contrast, config, seed=seed, progress=self.progress
            )


def paths_of(X) -> list | None:
    """The files of images that were given by folder or paths, None for others."""
    if isinstance(X, (str, os.PathLike)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # said while they were embedded
            return as_list(X)
    given = isinstance(X, (list, tuple)) and all(isinstance(each, (str, os.PathLike)) for each in X)
    return list(X) if given else None


def fractional(array: np.ndarray) -> bool:
    """Whether an array holds numbers with a fraction, JAX's bfloat16 among them."""
    return bool(jax.numpy.issubdtype(array.dtype, np.floating))


def draw_seed(random_state) -> int:
    """An integer as it is; else one that is drawn, as scikit-learn's estimators do."""
    if isinstance(random_state, numbers.Integral):
        if not 0 <= random_state < 2**32:
            raise ValueError(f"the seed is {random_state}, expected a whole number of 0 to {2**32 - 1:,}")
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def check_loaded(attributes: dict, clip: Clip, directory: Path) -> None:
    """ValueError where the parts of a model do not fit each other or the checkpoint."""
    feature, width = kinds.TABLE[attributes["features_"]], clip.config.image.embed
    columns, axes = attributes["cluster_centers_"].shape[1], attributes["projection_"].shape[1]
    problem = ""
    if attributes["n_features_in_"] != width:
        problem = f"embeddings of {attributes['n_features_in_']} numbers, those of {clip.name} have {width}"
    elif feature.fit and columns != axes:
        problem = f"centres of {columns} numbers, features of {axes}"
    elif feature.proxies and "block_size_" not in attributes:
        problem = "proxies are needed, and none are there"
    if problem:
        raise ValueError(f"the model in {directory} does not fit together ({problem}): it is damaged, save it again")


def load(directory: str | Path, clip: str | Clip | None = None) -> MultiMaP:
    """A model written by `MultiMaP.save`. `clip` overrides where its checkpoint lies.

    Raises FileNotFoundError where there is no model, ValueError for another format or another checkpoint (by hash).
    """
    settings, attributes = read_model(Path(directory))
    name, digest, version = settings.pop("clip")
    loaded = load_clip(name if clip is None else clip)
    if digest != (loaded.weights_hash if version == 2 else loaded.hash):
        raise ValueError(f"{directory} was fitted with another checkpoint than the one in {loaded.name}: give clip=…")
    model = MultiMaP(**settings, clip=loaded)
    if "features_" not in attributes:
        attributes["features_"] = kinds.choose(model.features, model.aspect, model._config())
    check_loaded(attributes, loaded, Path(directory))
    for attribute, value in attributes.items():
        setattr(model, attribute, value)
    return model
