"""The files that the masters of a group serve: what each tells of them, and where they differ."""
