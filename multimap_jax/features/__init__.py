"""A table of the kinds of features, and the default kind: images in the span of the words."""
