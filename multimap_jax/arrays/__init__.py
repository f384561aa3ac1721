"""Matrices with one row per image, which may be stored on disk in several parts."""
