"""Pure: counts and rounds in, percentiles, rates and intervals out."""
