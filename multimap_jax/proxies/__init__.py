"""The paper's method in its order: recipes, the loss of one image, all images at once, fit_proxies."""
