"""Decodes images, repairs damaged files, and makes thumbnails."""
