"""The command `multimap`: one file for each verb, with its flags, usage and run; also suggestions and signals."""
