"""Rows that one process keeps while no process has committed anything."""
