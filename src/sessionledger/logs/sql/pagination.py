"""How listings are ordered, for logs that ask a database for them. `?` stands for a value."""

from __future__ import annotations

from sessionledger.logs.base import Row


def order(named: bool, ends: bool) -> tuple[str, str]:
    """How a listing is ordered, and the condition that a row comes after a given place.

    named: it is of one owner or alias. ends: it is of those that end before an instant.
    """
    if ends:
        return "expires, key", "(expires, key) > (?, ?)"
    if named:
        return "created", "created > ?"
    return "key", "key > ?"


def place(row: Row, named: bool, ends: bool) -> tuple[object, ...]:
    """Where a row stands in that order."""
    if ends:
        return row.expires, row.key
    return (row.created,) if named else (row.key,)
