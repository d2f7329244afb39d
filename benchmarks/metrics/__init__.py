"""Metric definitions as pure functions: NumPy arrays in, fractions 0..1 out, NaN = undefined."""
