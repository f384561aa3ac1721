"""Edits of clusters: the file of edits, and the mapping from centroids to edited clusters."""
