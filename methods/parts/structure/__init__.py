"""Structure maps: pictures of a body's pose and shape, without its looks, from any side."""
