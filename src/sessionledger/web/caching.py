"""What an answer that depends on a session says to caches (RFC 9110, 12.5.5; RFC 9111, 5.2.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

CREDENTIALS = ("Cookie", "Authorization")
NO_STORE = "no-store"
# With one of these the application itself says whether shared caches may store the answer.
_DECIDED = frozenset(("private", "no-store", "public", "s-maxage"))


def vary_by_credentials(said: Iterable[str]) -> str:
    """The value of `Vary`: what the application says in its own, and the two credentials."""
    names = {name.lower(): name for name in _items(said)}
    if "*" in names:
        return "*"
    return ", ".join((names | {name.lower(): name for name in CREDENTIALS}).values())


def keep_private(said: Iterable[str]) -> str:
    """The value of `Cache-Control`: `private` too, unless the application decides that itself."""
    directives = list(_items(said))
    # `private="…"` keeps one header private, and not the answer.
    names = {re.sub(r"^s-maxage\s*=.*", "s-maxage", one.lower()) for one in directives}
    return ", ".join(directives if names & _DECIDED else [*directives, "private"])


def _items(values: Iterable[str]) -> Iterable[str]:
    return (item for value in values for one in value.split(",") if (item := one.strip()))
