"""The synchronous store, in parts: by token, by name, by log."""

from sessionledger.store.sync.store import SessionStore

__all__ = ["SessionStore"]
