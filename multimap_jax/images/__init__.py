"""Decoding images, mending their metadata, thumbnails."""
