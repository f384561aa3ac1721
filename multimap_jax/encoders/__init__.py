"""Frozen encoders of images and texts, and the small one that comes with the package."""
