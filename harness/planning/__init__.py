"""From settings to a plan: what is to be run, on which data, and what is known already."""
