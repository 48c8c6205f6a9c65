"""What Salt runs in the place of its own states where they are for a container without a Python."""
