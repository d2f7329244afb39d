"""HAP: human-structure-aware masked auto-encoding."""
