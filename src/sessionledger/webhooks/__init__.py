"""Webhooks: messages about sessions to addresses on the web (Standard Webhooks).

Events reach an endpoint in order and at least once. One process at a time sends them.
"""
