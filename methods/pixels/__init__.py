"""Control: shrunken pixels."""
