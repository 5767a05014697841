"""Logs: topics, keys, owners, versions and bytes. They know nothing of sessions or tokens."""
