"""How the thresholds were found: separability, model selection, found words, difficulty of drawings."""
