"""The embedded checkpoint: captions, a stream of drawn pictures, training, and the files that come of it."""
