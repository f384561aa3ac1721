"""From rows to clusters on the host: k-means, model selection, outliers, metrics, principal axes."""
