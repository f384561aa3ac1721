"""Procedurally drawn pictures with known aspects, to try and test the package and to train its embedded checkpoint."""

from multimap_jax.scenes.files import write_scenes
from multimap_jax.scenes.registry import SCENES, Scene, render_scene, scene_labels

__all__ = ["SCENES", "Scene", "render_scene", "scene_labels", "write_scenes"]
