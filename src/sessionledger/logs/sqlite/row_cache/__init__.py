"""Rows that a process keeps as long as no process has committed anything."""
