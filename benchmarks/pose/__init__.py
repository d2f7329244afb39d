"""Benchmark `pose`: where the joints of a person are."""
