"""What the package claims of its costs, measured: one file a claim, each beside its peer in the same run."""
