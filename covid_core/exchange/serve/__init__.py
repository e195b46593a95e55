"""A prediction server: an image in over HTTP, a run's assessment out. ``server`` starts it, ``guard`` stands before all
requests, ``api`` answers them, ``tokens`` holds who may ask."""
