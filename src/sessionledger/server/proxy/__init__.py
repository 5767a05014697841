"""Answers for reverse proxies: forward authentication."""
