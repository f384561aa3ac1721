"""One run of the command, verb by verb: its job, cache, results, evaluation and record."""
