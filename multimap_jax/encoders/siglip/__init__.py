"""SigLIP, and SigLIP 2 of fixed size."""
