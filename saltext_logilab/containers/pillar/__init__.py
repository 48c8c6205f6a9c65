"""External pillars of this area."""
