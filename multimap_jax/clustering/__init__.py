"""Clusters rows on the host: k-means, model selection, outliers, metrics, principal axes."""
