"""Several masters as one: what is decided on one takes effect on all of them."""
