"""Matrices of one row an image that may lie on disk in parts."""
