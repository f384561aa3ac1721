"""Reads and writes files, on this machine or in a store: atomically, and without touching anybody else's files."""
