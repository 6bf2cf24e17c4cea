"""One source, three meanings: how steps are written, read, and compiled; knows int64 and nothing else."""
