"""CLIP in the Hugging Face layout: configuration, towers, checkpoints, tokenizer and image preprocessing."""

import os

# transformers, where it is imported, prints that PyTorch is missing, for models that are not used here.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
