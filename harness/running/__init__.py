"""A matrix brought to its end: the run and its worker processes."""
