"""Edits of clusters as a file has them, and how they lead from centroids to edited clusters."""
