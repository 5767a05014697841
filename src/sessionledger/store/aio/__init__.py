"""The asynchronous store, in parts: by token, by name, by log."""
