"""The mine outbox of a minion: what was to be sent, and what brings it to each master."""
