"""Seeding: a new guest is told who it is by a NoCloud image, and a master knows its key before it boots."""
