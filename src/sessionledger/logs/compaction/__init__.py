"""Removing the oldest events of a topic, while the state of every key stays."""
