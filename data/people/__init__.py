"""The embedded corpus: a procedural renderer of articulated people."""
