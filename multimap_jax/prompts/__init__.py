"""Aspects and their prompts, reference words, and whether an encoder separates an aspect's words."""
