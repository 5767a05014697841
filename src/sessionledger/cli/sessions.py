"""The commands about one session: create, get, touch, expire, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from sessionledger import Policy
from sessionledger.cli import options
from sessionledger.cli.answers import show_issued, show_session
from sessionledger.cli.exits import not_live, unknown
from sessionledger.cli.opening import open_store
from sessionledger.cli.quick import Get
from sessionledger.cli.secret import read_token, read_token_from_input

TokenFromInput = Annotated[
    bool, typer.Option("--token-stdin", help="Use the token on standard input, not a new one.")
]
MaxSessions = Annotated[
    int | None,
    typer.Option(
        "--max-sessions", min=1, metavar="N", help="How many live ones the principal may have."
    ),
]
EvictOldest = Annotated[
    bool, typer.Option("--evict-oldest", help="End the oldest where there would be more.")
]


def create(
    principal: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Whom it is for.")],
    ttl: options.Ttl = None,
    expires_at: options.ExpiresAt = None,
    idle_timeout: options.IdleTimeout = None,
    absolute_timeout: options.AbsoluteTimeout = None,
    attributes: options.Attributes = None,
    external_id: options.ExternalId = None,
    max_sessions: MaxSessions = None,
    evict_oldest: EvictOldest = False,
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
    if evict_oldest and max_sessions is None:
        raise typer.BadParameter("--evict-oldest makes room where --max-sessions says how many")
    token = read_token_from_input() if token_stdin else None
    policy = Policy(
        max_sessions_per_principal=max_sessions,
        on_limit="evict_oldest" if evict_oldest else "deny",
    )
    with open_store(ledger, topic, create=True, policy=policy) as store:
        issued = store.create(
            principal,
            token=token,
            ttl=ttl,
            expires_at=expires_at,
            idle_timeout=idle_timeout,
            absolute_timeout=absolute_timeout,
            attributes=attributes,
            external_id=external_id,
            reason=reason,
            actor=actor,
            context=options.context(context),
        )
    show_issued(issued, json)


def get(
    handle: options.Handle = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Show the live session of a token, or of a handle."""
    Get(ledger, topic, handle, json).run()


def touch(
    ttl: options.Ttl = None,
    expires_at: options.ExpiresAt = None,
    attributes: options.Attributes = None,
    reason: options.Reason = None,
    actor: options.Actor = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Record that the session of a token was seen just now."""
    with open_store(ledger, topic) as store:
        touched = store.touch(
            read_token(),
            ttl=ttl,
            expires_at=expires_at,
            attributes=attributes,
            reason=reason,
            actor=actor,
            context=options.context(context),
        )
    show_session(touched, json, not_live("token"))


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
    show_session(ended, json, unknown("token"))


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
    show_session(ended, json, unknown("handle"))
