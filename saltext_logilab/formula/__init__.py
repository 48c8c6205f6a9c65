"""The formulas and example pillars that travel in the wheel."""
