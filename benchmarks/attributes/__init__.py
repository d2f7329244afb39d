"""Benchmark `attributes`: what a person wears and looks like."""
