"""Weights that others have trained: read as tensors alone, unwrapped, fitted to a network, with a report of it."""
