"""Benchmark `text-reid`: a person found by a description."""
