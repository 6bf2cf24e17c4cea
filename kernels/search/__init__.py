"""Every interleaving of a small machine: states, moves, fingerprints, rounds."""
