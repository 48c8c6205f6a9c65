"""Resource types of this area (Salt 3008)."""
