"""Where results and caches go: whole files, put in place at once, and never anybody else's."""
