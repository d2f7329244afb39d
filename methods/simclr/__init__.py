"""SimCLR: two views of one image."""
