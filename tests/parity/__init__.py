"""Replays what the reference recorded, and shows where we differ from it on purpose."""
