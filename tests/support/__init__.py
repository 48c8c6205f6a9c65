"""Fixtures of real things: daemons, containers, guests, relays, clocks and disks; one pytest plugin per subject."""
