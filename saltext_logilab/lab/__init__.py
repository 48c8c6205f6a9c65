"""``salt-lab``: masters and minions on one machine, by one command, for trying, demos and tests."""
