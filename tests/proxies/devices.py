"""Proxies on however many devices a process has.

python -m tests.proxies.devices CLIP ROWS.npy PROXIES.npy DEVICES
"""

import sys

import jax
import numpy as np

import multimap_jax as mm


def proxies_of_recipes(clip, rows):
    """The proxies of three recipes, [recipes, images, width]."""
    color = mm.Aspect("color", subject="fruit", words=("red", "green", "yellow"))
    recipes = (
        mm.ProxyConfig(steps=60, block_size=8),
        mm.ProxyConfig.paper(steps=60, block_size=8),
        mm.ProxyConfig.released(10, weight_decay=1e-4, batch_size=3, block_size=8),
    )
    return np.stack([mm.fit_proxies(clip, rows, color, contrast=("species",), config=each).proxies for each in recipes])


if __name__ == "__main__":
    clip, rows, out, devices = sys.argv[1:]
    assert jax.device_count() == int(devices), jax.devices()
    np.save(out, proxies_of_recipes(mm.load_clip(clip), np.load(rows)))
