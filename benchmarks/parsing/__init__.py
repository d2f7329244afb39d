"""Benchmark `parsing`: which pixel belongs to which part of a person."""
