"""The page of a run: one HTML file that works from the disk, without a network."""
