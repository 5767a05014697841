"""From the `--ledger` option to an open store."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

from sessionledger import Log, Policy, SessionStore, open_log
from sessionledger.cli.exits import UNAVAILABLE, Failure, warn

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SQLITE = "sqlite:///"


def address(ledger: str) -> str:
    """The URL of a ledger that was given as URL or as the path of a SQLite file."""
    return ledger if _SCHEME.match(ledger) else _SQLITE + quote(ledger)


def open_store(
    ledger: str, topic: str, *, create: bool = False, policy: Policy | None = None
) -> SessionStore:
    """The store on a ledger, which must exist unless it may be created."""
    url = address(ledger) if create else existing(ledger)
    return SessionStore.open(url, policy=policy, on_error=warn, topic=topic)


def open_events(ledger: str) -> Log:
    """The log of a ledger that exists, without anything that knows sessions."""
    return open_log(existing(ledger))


def existing(ledger: str) -> str:
    """The URL of a ledger that exists."""
    url = address(ledger)
    _require(url)
    return url


def _require(url: str) -> None:
    """A question must not leave an empty ledger behind where the path was mistyped."""
    if not url.startswith(_SQLITE):
        return
    path = unquote(url.removeprefix(_SQLITE))
    if path and "\0" not in path and not Path(path).exists():
        raise Failure(
            UNAVAILABLE,
            "no_ledger",
            f"there is no ledger at {path}; `sessionledger create` makes one, --ledger or "
            "SESSIONLEDGER_URL names another",
        )
