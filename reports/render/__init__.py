"""Tables without looks, and what every format makes of them."""
