"""Oracle: the truth in the place of predictions."""
