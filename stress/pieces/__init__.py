"""Long jobs, piece by piece."""
