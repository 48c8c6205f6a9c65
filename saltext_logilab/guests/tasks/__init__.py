"""Long work on guests: recorded before it begins, done outside of the minion, settled by what libvirt says."""
