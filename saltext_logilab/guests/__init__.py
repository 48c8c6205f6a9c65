"""The guests of libvirt: what runs where, and long work on them that outlives the minion."""
