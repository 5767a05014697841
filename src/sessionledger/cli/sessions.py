"""The commands about one session: create, get, touch, expire, revoke."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from sessionledger import IssuedSession, Session
from sessionledger.cli import options
from sessionledger.cli.exits import Failure, not_live, unknown
from sessionledger.cli.opening import open_store
from sessionledger.cli.present import on_terminal, show, write
from sessionledger.cli.records import session_record
from sessionledger.cli.secret import read_token, read_token_from_input

TokenFromInput = Annotated[
    bool, typer.Option("--token-stdin", help="Use the token on standard input, not a new one.")
]


def create(
    principal: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Whom it is for.")],
    ttl: options.Ttl = None,
    expires_at: options.ExpiresAt = None,
    idle_timeout: options.IdleTimeout = None,
    attributes: options.Attributes = None,
    token_stdin: TokenFromInput = False,
    reason: options.Reason = None,
    actor: options.Actor = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Begin a session and print its token, this once.

    Makes the ledger if there is none. In a pipe the token stands alone on one line.
    """
    token = read_token_from_input() if token_stdin else None
    with open_store(ledger, topic, create=True, idle_timeout=idle_timeout) as store:
        issued = store.create(
            principal,
            token=token,
            ttl=ttl,
            expires_at=expires_at,
            attributes=attributes,
            reason=reason,
            actor=actor,
            context=options.context(context),
        )
    _show_issued(issued, json)


def get(
    handle: options.Handle = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Show the live session of a token, or of a handle."""
    with open_store(ledger, topic) as store:
        found = store.get(read_token()) if handle is None else store.find(handle=handle)
    _show(found, json, not_live("token" if handle is None else "handle"))


def touch(
    ttl: options.Ttl = None,
    expires_at: options.ExpiresAt = None,
    idle_timeout: options.IdleTimeout = None,
    attributes: options.Attributes = None,
    reason: options.Reason = None,
    actor: options.Actor = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Record that the session of a token was seen just now."""
    with open_store(ledger, topic, idle_timeout=idle_timeout) as store:
        touched = store.touch(
            read_token(),
            ttl=ttl,
            expires_at=expires_at,
            attributes=attributes,
            reason=reason,
            actor=actor,
            context=options.context(context),
        )
    _show(touched, json, not_live("token"))


def expire(
    reason: options.Reason = None,
    actor: options.Actor = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """End the session of a token, for good."""
    with open_store(ledger, topic) as store:
        ended = store.expire(
            read_token(), reason=reason, actor=actor, context=options.context(context)
        )
    _show(ended, json, unknown("token"))


def revoke(
    handle: Annotated[str, typer.Option("--handle", metavar="HANDLE", help="The session.")],
    reason: options.Reason = None,
    actor: options.Actor = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """End the session of a handle, for good."""
    with open_store(ledger, topic) as store:
        ended = store.revoke(
            handle=handle, reason=reason, actor=actor, context=options.context(context)
        )
    _show(ended, json, unknown("handle"))


def _show(session: Session | None, as_json: bool, otherwise: Failure) -> None:
    if session is None:
        raise otherwise
    show(session_record(session, datetime.now(UTC)), as_json)


def _show_issued(issued: IssuedSession, as_json: bool) -> None:
    record = session_record(issued, datetime.now(UTC))
    if as_json:
        show({"token": issued.token, **record}, as_json)
        return
    if on_terminal():
        show(record, as_json)
        write("\nThe token, shown this once:")
    write(issued.token)
