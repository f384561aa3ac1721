"""The paper's method: recipes, the loss of one image, optimisation of all images, `fit_proxies`."""
