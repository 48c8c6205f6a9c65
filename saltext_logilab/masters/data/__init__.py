"""The minion data that masters cache (mine, grains, pillar): versions, and what makes them converge on all members."""
