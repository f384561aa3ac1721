"""Frozen encoders of images and texts, among them a small one that comes with the package."""
