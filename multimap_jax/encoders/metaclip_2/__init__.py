"""MetaCLIP 2."""
