"""Groups images by a word: Multi-MaP (CVPR 2024, arXiv 2404.15655) in JAX."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for type checkers: the names of _PUBLIC
    from multimap_jax.clustering.metrics import evaluate as evaluate
    from multimap_jax.encoders.clip.model import Clip as Clip
    from multimap_jax.encoders.load import load_clip as load_clip
    from multimap_jax.errors import InputError as InputError
    from multimap_jax.estimator import MultiMaP as MultiMaP
    from multimap_jax.estimator import load as load
    from multimap_jax.images.decoding import UnreadableImagesError as UnreadableImagesError
    from multimap_jax.notebook import open_run as open_run
    from multimap_jax.notebook import show as show
    from multimap_jax.prompts.answers import Answers as Answers
    from multimap_jax.prompts.aspect import Aspect as Aspect
    from multimap_jax.prompts.separability import Separability as Separability
    from multimap_jax.prompts.separability import diagnose as diagnose
    from multimap_jax.proxies.fit import ProxyFit as ProxyFit
    from multimap_jax.proxies.fit import fit_proxies as fit_proxies
    from multimap_jax.proxies.recipes import ProxyConfig as ProxyConfig
    from multimap_jax.scenes import render_scene as render_scene
    from multimap_jax.words.find import FoundWords as FoundWords
    from multimap_jax.words.find import find_words as find_words
    from multimap_jax.words.find import suggest_aspects as suggest_aspects
    from multimap_jax.words.look import look as look
    from multimap_jax.words.vocabulary import read_vocabulary as read_vocabulary

__version__ = "0.1.0"

# Public name -> module. Loaded when first used: importing the package loads neither JAX nor scikit-learn.
_PUBLIC = {
    "Answers": "prompts.answers",
    "Aspect": "prompts.aspect",
    "Clip": "encoders.clip.model",
    "FoundWords": "words.find",
    "InputError": "errors",
    "MultiMaP": "estimator",
    "ProxyConfig": "proxies.recipes",
    "ProxyFit": "proxies.fit",
    "Separability": "prompts.separability",
    "UnreadableImagesError": "images.decoding",
    "diagnose": "prompts.separability",
    "evaluate": "clustering.metrics",
    "find_words": "words.find",
    "fit_proxies": "proxies.fit",
    "load": "estimator",
    "load_clip": "encoders.load",
    "look": "words.look",
    "open_run": "notebook",
    "read_vocabulary": "words.vocabulary",
    "render_scene": "scenes",
    "show": "notebook",
    "suggest_aspects": "words.find",
}
__all__ = [*_PUBLIC, "__version__"]


if not TYPE_CHECKING:  # else type checkers would take any name for one of ours

    def __getattr__(name):
        if name not in _PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
