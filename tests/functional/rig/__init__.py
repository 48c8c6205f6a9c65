"""The fixtures themselves: each real thing that the tests use is proven here."""
