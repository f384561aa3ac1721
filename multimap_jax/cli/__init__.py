"""The command multimap: one file a verb, its flags, usage and run; suggestions and signals."""
