"""From the `--ledger` option to an open store."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from sessionledger import (
    Log,
    LogUnavailable,
    Policy,
    SessionStore,
    open_log,
    open_snapshot,
)
from sessionledger.cli.exits import UNAVAILABLE, USAGE, Failure, warn

LEDGER = "sqlite:///sessions.db"
LEDGER_VARIABLE = "SESSIONLEDGER_URL"
TOPIC = "orchestrator.sessions"
TOPIC_VARIABLE = "SESSIONLEDGER_TOPIC"

_PASSWORD = re.compile(r"://[^/@:]*:[^/@]+@|[?&](ssl)?password=")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
# Before a path in an address, and what else of it is left of the path.
_PLACES = {"sqlite:///": "", "file:///": "/", "file:/": "/", "file:": ""}


def address(ledger: str) -> str:
    """The URL of a ledger that was given as URL or as a path: of a folder that holds topics, or
    else of a SQLite file. Raises `Failure` for one that no other process can reach."""
    if ledger.lower().startswith("memory:"):
        raise Failure(
            USAGE,
            "invalid_url",
            "a memory: ledger ends with the process that opens it, and no command could reach what "
            "another wrote; --ledger takes a file",
        )
    if _SCHEME.match(ledger):
        _refuse_shown_password(ledger)
        return ledger
    if (Path(ledger) / "topics").is_dir():
        return f"file://{quote(str(Path(ledger).absolute()))}"
    return f"sqlite:///{quote(ledger)}"


def _refuse_shown_password(url: str) -> None:
    """Anybody on the machine can list what a process was called with."""
    if _PASSWORD.search(url) and any(url in argument for argument in sys.argv):
        raise Failure(
            USAGE,
            "password_in_argument",
            "a password in --ledger is seen by everybody on this machine: put the address into "
            f"{LEDGER_VARIABLE}, or the password into PGPASSWORD or a file that PGPASSFILE names",
        )


def open_store(
    ledger: str, topic: str, *, create: bool = False, policy: Policy | None = None
) -> SessionStore:
    """The store on a ledger, which must exist unless it may be created."""
    url = address(ledger) if create else existing(ledger)
    return SessionStore.open(url, policy=policy, on_error=warn, topic=topic)


def open_events(ledger: str) -> Log:
    """The log of a ledger that exists, without anything that knows sessions."""
    return open_log(existing(ledger))


def open_to_read(ledger: str) -> Log:
    """The log of a ledger that exists, also where only its files may be read: as it is now."""
    url = existing(ledger)
    path = path_in(url)
    if not url.lower().startswith("sqlite:") or "\0" in path:
        return open_log(url)
    if os.access(path, os.W_OK):
        try:
            return open_log(url)
        except LogUnavailable:
            # In such a folder it can be opened as long as somebody else has it open.
            if os.access(Path(path).parent, os.W_OK):
                raise
    return open_snapshot(url)


@contextmanager
def store_to_read(
    ledger: str, topic: str, *, policy: Policy | None = None
) -> Iterator[SessionStore]:
    """The store on that log, for commands that change nothing."""
    with closing(open_to_read(ledger)) as log:
        yield SessionStore(log, policy=policy, on_error=warn, topic=topic)


def existing(ledger: str) -> str:
    """The URL of a ledger that exists."""
    url = address(ledger)
    _require(url)
    return url


def _require(url: str) -> None:
    """A question must not leave an empty ledger behind where the path was mistyped."""
    path = path_in(url)
    if path and "\0" not in path and not Path(path).exists():
        raise Failure(
            UNAVAILABLE,
            "no_ledger",
            f"there is no ledger at {path}; `sessionledger create` makes one, --ledger or "
            "SESSIONLEDGER_URL names another",
        )


def path_in(url: str) -> str:
    """The path that the address of a ledger names; empty where it names none."""
    scheme, colon, rest = url.partition(":")
    whole = scheme.lower() + colon + rest
    for beginning, kept in _PLACES.items():
        if whole.startswith(beginning):
            return kept + unquote(whole.removeprefix(beginning))
    return ""
