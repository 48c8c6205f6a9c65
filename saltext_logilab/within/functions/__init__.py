"""The execution functions of resources, for each type to take over."""
