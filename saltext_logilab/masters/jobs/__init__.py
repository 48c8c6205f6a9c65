"""The job cache of a group: written to a spool beside the master first, then to a PostgreSQL that all masters read."""
