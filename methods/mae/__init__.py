"""MAE: masked auto-encoding."""
