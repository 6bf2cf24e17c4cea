"""Real shootdowns, raced: the verb `run` of scenarios of the kind `real`."""
