"""The states of resources without a Python, for each type to take over."""
