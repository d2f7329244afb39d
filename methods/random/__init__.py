"""Control: the untrained backbone."""
