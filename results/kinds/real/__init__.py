"""Of `run memfd`, `run munmap` and the like: real shootdowns."""
