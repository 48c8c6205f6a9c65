"""The records of a group in a store that its masters share: etcd or PostgreSQL. A carrier, no authority."""
