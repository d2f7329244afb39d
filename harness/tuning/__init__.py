"""The search for settings, equal for all methods, on validation data."""
