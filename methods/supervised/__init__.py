"""Supervised: identities and attributes as labels, the labelled reference."""
