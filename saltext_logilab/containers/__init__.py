"""Docker hosts: which port of a host leads to which container, known on the host and in the fleet."""
