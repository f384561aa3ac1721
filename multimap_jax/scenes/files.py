"""Writes scenes as files: a folder of PNG pictures with their true labels."""

import csv
import pathlib

from PIL import Image

from multimap_jax.scenes.registry import find_scene, render_scene


def write_scenes(directory, name, *, seed=0, count=240, difficulty=0):
    """Write `count` pictures of a family, and `labels.csv` (a column `image`, then one for each aspect).

    The column `image` holds paths relative to `directory`. `difficulty` is that of `render_scene`, from 0 to 3.
    Returns the path of `labels.csv`.
    """
    aspects = list(find_scene(name).aspects)
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["image", *aspects], lineterminator="\n")
        writer.writeheader()
        for index in range(count):
            picture, labels = render_scene(name, seed=seed, index=index, difficulty=difficulty)
            filename = f"{name}_{index:04d}.png"
            Image.fromarray(picture).save(directory / filename, compress_level=1)
            writer.writerow({"image": filename, **labels})
    return path
