"""Several processes of one run: how they join, and JAX's distributed runtime."""
