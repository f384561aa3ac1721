"""Timings and memory, each a program of its own."""
