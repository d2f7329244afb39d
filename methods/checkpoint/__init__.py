"""Weights of a file, scored as they are."""
