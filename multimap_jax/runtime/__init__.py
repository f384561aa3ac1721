"""What a program runs on: the mesh, precision, the compilation cache, progress, profiling, the machine in words."""
