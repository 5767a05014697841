"""Putting another file in the place of a topic's, without its oldest events."""
