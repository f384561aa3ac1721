"""Groups images by a word: Multi-MaP (CVPR 2024, arXiv 2404.15655) in JAX."""

import importlib

__version__ = "0.1.0"

# Public name -> module. Loaded when first used: importing the package loads neither JAX nor scikit-learn.
_PUBLIC = {
    "Aspect": "prompts.aspect",
    "Clip": "encoders.clip.model",
    "MultiMaP": "estimator",
    "ProxyConfig": "proxies.recipes",
    "ProxyFit": "proxies.fit",
    "UnreadableImagesError": "images.decoding",
    "diagnose": "prompts.separability",
    "evaluate": "clustering.metrics",
    "find_words": "words.find",
    "fit_proxies": "proxies.fit",
    "load": "estimator",
    "load_clip": "encoders.clip.model",
    "open_run": "notebook",
    "render_scene": "scenes",
    "show": "notebook",
    "suggest_aspects": "words.find",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__():
    return __all__
