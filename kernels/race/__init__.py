"""What a race runs on and leaves behind: compiled actors, counters, clocks, rings."""
