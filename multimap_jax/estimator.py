"""`MultiMaP`: images to named groups, by scikit-learn's conventions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted

from multimap_jax.clip.model import Clip, load_clip
from multimap_jax.clustering import (
    Groups,
    build_features,
    check_clusters,
    check_features,
    cluster,
    name_groups,
    nearest,
    outliers,
)
from multimap_jax.prompts import Aspect, word_similarities
from multimap_jax.proxies import ProxyFit, embed_words, fit_proxies
from multimap_jax.recipes import ProxyConfig
from multimap_jax.span import check_span, fit_projection

FORMAT = 2
ARRAYS = (
    "labels_",
    "distances_",
    "outliers_",
    "proxies_",
    "prompt_embeddings_",
    "reference_",
    "losses_",
    "loss_",
    "cluster_centers_",
    "projection_",
)


class MultiMaP(ClusterMixin, BaseEstimator):
    """Groups images by one aspect.

    Args:
      aspect: what to group by.
      clip: a name for `load_clip`, or a loaded Clip.
      n_clusters: number of groups; None: as many as the aspect has words.
      contrast: names of other aspects (see `fit_proxies`).
      config: the recipe; None: the default one.
      features: what k-means runs on: "span" (see `span.fit_projection`), "proxy", "prompt", "word", "image" or
        "proxy+image" (see `clustering.build_features`). None: `features_for`.
      random_state: seed of k-means (and of the released recipe's batch order).
      progress: whether bars are shown on stderr.

    Attributes:
      labels_: int [images], 0 … n_clusters_ - 1, the largest group first.
      distances_: float [images], to the centre of the own group. outliers_: bool [images], far from it.
      proxies_: float32 [images, width]. prompt_embeddings_: float32 [images, embed]. reference_: int [images].
      losses_: float32 [steps]. loss_: float32 [images]. cluster_centers_: float64 [n_clusters_, features].
      cluster_names_: list of n_clusters_ unique names. cluster_confidences_: float [n_clusters_], 0 … 1.
      projection_: float64 [embed, axes], of features "span" (axes is 0 with others).
      n_features_in_: embedding dimension. block_size_, image_steps_: see `ProxyFit`.
    """

    def __init__(
        self,
        aspect: Aspect,
        clip: str | Clip = "embedded",
        n_clusters: int | None = None,
        contrast: tuple[str, ...] = (),
        config: ProxyConfig | None = None,
        features: str | None = None,
        random_state: int = 0,
        progress: bool = False,
    ):
        self.aspect = aspect
        self.clip = clip
        self.n_clusters = n_clusters
        self.contrast = contrast
        self.config = config
        self.features = features
        self.random_state = random_state
        self.progress = progress

    def fit(self, X, y=None, proxies: ProxyFit | None = None) -> MultiMaP:
        """X: unit image embeddings [images, embed], or whatever `Clip.embed_images` takes; `y` is not looked at.

        proxies: what `fit_proxies` found for X with the same settings, where that was done before.
        """
        check_features(self.features)
        if self.n_clusters is None and not self.aspect.words:
            raise ValueError(f"aspect {self.aspect.name!r} has no words, so say how many groups: n_clusters=…")
        clusters = len(self.aspect.words) if self.n_clusters is None else self.n_clusters
        embeddings = self._embeddings(X)
        check_clusters(clusters, len(embeddings))
        config, kind = self._config(), self._kind()
        if kind == "span":
            check_span(self.aspect, config)
        fit = proxies or self._fit_proxies(embeddings, config)
        self.projection_ = self._projection(kind, embeddings, clusters, config)
        groups, distances = self._cluster(self._features(embeddings, fit, config), clusters)
        self.labels_, self.cluster_centers_, self.distances_ = groups.labels, groups.centres, distances
        self.outliers_ = outliers(distances, groups.labels)
        self.proxies_, self.prompt_embeddings_ = fit.proxies, fit.prompt_embeddings
        self.reference_, self.losses_, self.loss_ = fit.reference, fit.losses, fit.loss
        self.block_size_, self.image_steps_ = fit.block_size, fit.image_steps
        self.n_clusters_, self.n_features_in_ = clusters, embeddings.shape[1]
        probabilities = word_probabilities(self._clip(), embeddings, self.aspect)
        self.cluster_names_, self.cluster_confidences_ = name_groups(
            self.labels_, clusters, probabilities, self.aspect.words, self.aspect.name
        )
        return self

    def predict(self, X) -> np.ndarray:
        """Labels of other images, int [images]: the nearest centre to their features.

        Features that hold proxies take proxies learnt for these images; "span" and "image" need none.

        On the images of `fit` it gives `labels_`. ValueError under the released recipe with weight decay, where a
        proxy depends on the images that come with it.
        """
        check_is_fitted(self)
        config = dataclasses.replace(self._config(), block_size=self.block_size_)
        if config.recipe == "released" and config.weight_decay:
            raise ValueError(
                "under the released recipe with weight decay a proxy depends on all images fitted with it, so new "
                "images cannot be predicted: fit them together, or use weight_decay=0"
            )
        embeddings = self._embeddings(X)
        if embeddings.ndim == 2 and embeddings.shape[1] != self.n_features_in_:
            raise ValueError(f"X has {embeddings.shape[1]} features, fitted with {self.n_features_in_}")
        fit = None if self._kind() in ("image", "span") else self._fit_proxies(embeddings, config)
        return nearest(self._features(embeddings, fit, config), self.cluster_centers_)[0]

    def save(self, directory: str | Path) -> None:
        """Writes model.json and arrays.npz. The checkpoint is not in them, only its name and hash."""
        check_is_fitted(self)
        directory, clip = Path(directory), self._clip()
        directory.mkdir(parents=True, exist_ok=True)
        np.savez(directory / "arrays.npz", **{name: getattr(self, name) for name in ARRAYS})
        name = str(Path(clip.name).resolve()) if Path(clip.name).is_dir() else clip.name
        content = {
            "format": FORMAT,
            "aspect": dataclasses.asdict(self.aspect),
            "clip": {"name": name, "hash": clip.hash},
            "n_clusters": self.n_clusters,
            "contrast": list(self.contrast),
            "config": None if self.config is None else dataclasses.asdict(self.config),
            "features": self.features,
            "random_state": self.random_state,
            "block_size": self.block_size_,
            "cluster_names": self.cluster_names_,
            "cluster_confidences": self.cluster_confidences_.tolist(),
            "n_features_in": self.n_features_in_,
        }
        (directory / "model.json").write_text(json.dumps(content, indent=1) + "\n")

    def _clip(self) -> Clip:
        """The loaded checkpoint, read once for one value of `clip`."""
        name, loaded = getattr(self, "_loaded", (None, None))
        if loaded is None or name is not self.clip:
            loaded = load_clip(self.clip)
            self._loaded = (self.clip, loaded)
        return loaded

    def _kind(self) -> str:
        return features_for(self.features, self.aspect, self._config())

    def _projection(self, kind: str, embeddings: np.ndarray, clusters: int, config: ProxyConfig) -> np.ndarray:
        if kind != "span":
            return np.zeros((embeddings.shape[1], 0))
        return fit_projection(self._clip(), embeddings, self.aspect, clusters, self.contrast, config, self.random_state)

    def _config(self) -> ProxyConfig:
        return self.config or ProxyConfig()

    def _embeddings(self, X) -> np.ndarray:
        array = np.asarray(X) if isinstance(X, (list, tuple)) and X and np.ndim(X[0]) == 1 else X
        if isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.floating):
            return array
        return self._clip().embed_images(X, progress=self.progress)

    def _fit_proxies(self, embeddings: np.ndarray, config: ProxyConfig) -> ProxyFit:
        return fit_proxies(
            self._clip(),
            embeddings,
            self.aspect,
            self.contrast,
            config,
            seed=self.random_state,
            progress=self.progress,
        )

    def _features(self, embeddings: np.ndarray, fit: ProxyFit | None, config: ProxyConfig) -> np.ndarray:
        kind = self._kind()
        words = embed_words(self._clip(), fit.proxies, config) if kind == "word" else None
        proxies, prompts = (None, None) if fit is None else (fit.proxies, fit.prompt_embeddings)
        return build_features(kind, proxies, prompts, words, embeddings, self.projection_)

    def _cluster(self, features: np.ndarray, clusters: int) -> tuple[Groups, np.ndarray]:
        groups = cluster(features, clusters, self.random_state)
        return groups, nearest(features, groups.centres)[1]


def features_for(features: str | None, aspect: Aspect, config: ProxyConfig) -> str:
    """What k-means runs on. Where nothing is said (None): "span" under the default recipe for two words or more, else
    "proxy" (the paper's and the released program's choice)."""
    default = "span" if config.recipe == "default" and len(aspect.words) > 1 else "proxy"
    return features or default


def word_probabilities(clip: Clip, embeddings: np.ndarray, aspect: Aspect) -> np.ndarray:
    """Zero-shot probabilities of the aspect's words, [images, words]."""
    from scipy.special import softmax

    if not aspect.words:
        return np.zeros((len(embeddings), 0))
    return softmax(clip.temperature_scale * word_similarities(clip, embeddings, aspect), axis=1)


def load(directory: str | Path, clip: str | Clip | None = None) -> MultiMaP:
    """A model written by `MultiMaP.save`. `clip` overrides where its checkpoint lies.

    Raises FileNotFoundError where there is no model, ValueError for another format or another checkpoint (by hash).
    """
    directory = Path(directory)
    if not (directory / "model.json").exists() or not (directory / "arrays.npz").exists():
        raise FileNotFoundError(
            f"{directory} holds no model: expected model.json and arrays.npz, as MultiMaP.save writes"
        )
    content = json.loads((directory / "model.json").read_text())
    if content.get("format") != FORMAT:
        raise ValueError(f"{directory} has model format {content.get('format')}, this version reads {FORMAT}")
    loaded = load_clip(clip if clip is not None else content["clip"]["name"])
    if loaded.hash != content["clip"]["hash"]:
        raise ValueError(f"{directory} was fitted with another checkpoint than the one in {loaded.name}: give clip=…")
    model = MultiMaP(
        Aspect(**content["aspect"]),
        clip=loaded,
        n_clusters=content["n_clusters"],
        contrast=tuple(content["contrast"]),
        config=None if content["config"] is None else ProxyConfig(**content["config"]),
        features=content["features"],
        random_state=content["random_state"],
    )
    with np.load(directory / "arrays.npz", allow_pickle=False) as arrays:
        for name in ARRAYS:
            setattr(model, name, arrays[name])
    model.block_size_, model.n_features_in_ = content["block_size"], content["n_features_in"]
    model.cluster_names_ = content["cluster_names"]
    model.cluster_confidences_ = np.array(content["cluster_confidences"])
    model.n_clusters_ = len(model.cluster_names_)
    return model
