"""Erasing a person from the events and the rows of a ledger."""
