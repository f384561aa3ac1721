"""Labelled sets, methods and their scores, and the comparison of the default recipe with baselines."""
