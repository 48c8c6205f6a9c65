"""What Salt runs in the place of its own states where they are for a guest without a Python."""
