"""Kinds of features in one table, and the default's: images in the span of the words."""
