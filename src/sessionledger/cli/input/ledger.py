"""The ledger that a command is called on, and how it is opened."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sessionledger import Log, NoLedger, Policy, SessionStore, open_log, open_snapshot, parse_url
from sessionledger.cli.exit_codes import USAGE, Failure
from sessionledger.cli.output.errors import warn
from sessionledger.cli.parser import Command, Option

SESSIONS_TOPIC = "orchestrator.sessions"
URL_VARIABLE = "SESSIONLEDGER_URL"

_SCHEME = r"(?i)[a-z][a-z0-9+.-]*:"


class Ledger:
    """A ledger by its URL or path, and a topic in it. Its methods raise `Failure`."""

    def __init__(self, location: str, topic: str = SESSIONS_TOPIC) -> None:
        self.location = location
        self.topic = topic

    def __str__(self) -> str:
        return self.location

    def at(self, topic: str) -> Ledger:
        """The same ledger at another topic."""
        return Ledger(self.location, topic)

    def store(self, *, create: bool = False, policy: Policy | None = None) -> SessionStore:
        """The store on the ledger, which must exist unless it may be created."""
        url = url_of(self.location)
        if not create:
            self.log_to_read().close()
        return SessionStore.open(url, policy=policy, on_error=warn, topic=self.topic)

    @contextmanager
    def store_to_read(self, *, policy: Policy | None = None) -> Iterator[SessionStore]:
        """The store on `log_to_read`, for commands that change nothing."""
        with closing(self.log_to_read()) as log:
            yield SessionStore(log, policy=policy, on_error=warn, topic=self.topic)

    def log(self) -> Log:
        """The log of the ledger, which knows no sessions."""
        self.log_to_read().close()
        return open_log(url_of(self.location))

    def log_to_read(self) -> Log:
        """The log, by which nothing is made or changed."""
        return open_snapshot(self.existing_url())

    def existing_url(self) -> str:
        """Its URL. A mistyped path must not leave an empty ledger behind."""
        url = url_of(self.location)
        path = parse_url(url).path
        if path is not None and not path.exists():
            raise NoLedger(path)
        return url


LEDGER = Option(
    "--ledger -l URL",
    "The ledger: URL or path.",
    read=Ledger,
    default=Ledger("sqlite:///sessions.db"),
    variable=URL_VARIABLE,
)
TOPIC = Option(
    "--topic TOPIC",
    "The topic in the ledger.",
    default=SESSIONS_TOPIC,
    variable="SESSIONLEDGER_TOPIC",
)
JSON = Option("--json", "Answer in JSON, a line for each record.")


def ledger_command(*options: Option) -> Callable[[Callable[..., int | None]], Command]:
    """Make a command of a function whose first parameter is a `Ledger`, and whose second `json`."""

    def decorate(run: Callable[..., int | None]) -> Command:
        @wraps(run)
        def on_ledger(ledger: Ledger, topic: str, **values: Any) -> int | None:
            return run(ledger.at(topic), **values)

        return Command(on_ledger, (*options, LEDGER, TOPIC, JSON))

    return decorate


def url_of(location: str) -> str:
    """The URL of a ledger that was given as URL or as a path.

    A path names a folder that holds topics, or else a SQLite file. Raises `Failure` for a ledger
    that no other process can reach.
    """
    if location.lower().startswith("memory:"):
        raise Failure(
            USAGE,
            "invalid_url",
            "a memory: ledger ends with the process that opens it, and no command could reach what "
            "another wrote; --ledger takes a file",
        )
    if re.match(_SCHEME, location):
        _refuse_shown_password(location)
        return location
    if any((Path(location) / name).is_dir() for name in ("topics", "moved")):
        return f"file://{quote(str(Path(location).absolute()))}"
    return f"sqlite:///{quote(location)}"


def _refuse_shown_password(url: str) -> None:
    """Anybody on the machine can list the arguments of a process."""
    if any(url in argument for argument in sys.argv) and parse_url(url).holds_secret:
        raise Failure(
            USAGE,
            "password_in_argument",
            "everybody on this machine can see a password in an argument: put it into PGPASSWORD "
            f"or PGPASSFILE, or the address of --ledger into {URL_VARIABLE}",
        )
