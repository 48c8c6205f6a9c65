"""A real master and real minions."""
