"""Aspects and their prompts, zero-shot probabilities, whether an encoder separates an aspect's words."""
