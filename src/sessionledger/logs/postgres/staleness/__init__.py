"""Rows that a process answers from memory, no older than the caller allows."""
