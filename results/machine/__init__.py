"""What the machine is, and what that is worth to a measurement."""
