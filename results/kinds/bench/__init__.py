"""Orderings compared over rounds."""
