"""A schedule or a race, told in the protocol's words."""
