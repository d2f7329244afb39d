"""Benchmark `reid`: the same person seen by another camera."""
