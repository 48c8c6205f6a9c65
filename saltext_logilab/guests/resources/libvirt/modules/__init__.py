"""What Salt calls in the place of its own functions where a job is for a guest."""
