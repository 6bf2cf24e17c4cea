"""Real processes race once: forked over shared words, let go together, watched, reaped."""
