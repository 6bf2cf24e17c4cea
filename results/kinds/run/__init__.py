"""Orderings raced, each in its turn."""
