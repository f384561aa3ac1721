"""The environment of a program: mesh, precision, compilation cache, progress, profiling, and the machine's name."""
