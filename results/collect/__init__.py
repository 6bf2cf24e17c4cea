"""From shared memory to a record: the tally, one ordering's entry, its last steps, the live view."""
