"""One run of the command: a plan, the work, its files and what it says."""
