"""Answers about one session: as it is, as it was issued, or that there is none."""

from __future__ import annotations

from datetime import UTC, datetime

from sessionledger import IssuedSession, Session
from sessionledger.cli.exits import Failure
from sessionledger.cli.present import on_terminal, show, write
from sessionledger.cli.records import session_record


def show_session(
    session: Session | None, as_json: bool, otherwise: Failure, at: datetime | None = None
) -> None:
    """The session, and its state now or at an instant. Raises `otherwise` where there is none."""
    if session is None:
        raise otherwise
    show(session_record(session, at or datetime.now(UTC)), as_json)


def show_issued(issued: IssuedSession, as_json: bool) -> None:
    """A new session with its token: alone in a pipe, below the rest on a terminal."""
    record = session_record(issued, datetime.now(UTC))
    if as_json:
        show({"token": issued.token, **record}, as_json)
        return
    if on_terminal():
        show(record, as_json)
        write("\nThe token, shown this once:")
    write(issued.token)
