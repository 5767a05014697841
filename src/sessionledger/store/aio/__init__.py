"""The asynchronous store, in parts: by token, by name, by log."""

from sessionledger.store.aio.store import AsyncSessionStore

__all__ = ["AsyncSessionStore"]
