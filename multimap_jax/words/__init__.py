"""Words nobody gave: where they come from, which of them fit the images, and the names of clusters."""
