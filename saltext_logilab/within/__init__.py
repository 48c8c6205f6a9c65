"""
Salt's functions inside something that has no minion: a container, a guest.

What reaches inside is a :class:`.transport.Transport`; everything else here is said in its words, and knows neither
containers nor guests.
"""
