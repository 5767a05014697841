"""The commands about who bears a session: authenticate, reauthenticate, rotate; and patch."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import typer

from sessionledger.cli import options
from sessionledger.cli.answers import show_issued, show_session
from sessionledger.cli.exits import not_live
from sessionledger.cli.opening import open_store
from sessionledger.cli.secret import read_token

MaxAuthAge = Annotated[
    timedelta | None,
    typer.Option(
        "--max-auth-age", parser=options.duration, metavar="SPAN", help="How old a proof may be."
    ),
]
Changes = Annotated[
    dict[str, Any],
    typer.Argument(
        parser=options.attributes, metavar="JSON|@FILE", help="What to merge into the attributes."
    ),
]
IfVersion = Annotated[
    int | None,
    typer.Option("--if-version", min=1, metavar="N", help="Only if the session is at it."),
]
NewPrincipal = Annotated[
    str | None, typer.Option("--principal", metavar="NAME", help="For whom: who just logged in.")
]
Grace = Annotated[
    timedelta | None,
    typer.Option(
        "--grace",
        parser=options.duration_or_none,
        metavar="SPAN",
        help="How long the old token still authenticates; 0s for no longer.",
    ),
]


def authenticate(
    max_auth_age: MaxAuthAge = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Show the live session of a token that a client presented, as for a request.

    Records that it was seen, where that is due. A rotated token after its grace ends its family.
    """
    with open_store(ledger, topic) as store:
        found = store.authenticate(
            read_token(), max_auth_age=max_auth_age, context=options.context(context)
        )
    show_session(found, json, not_live("token"))


def reauthenticate(
    handle: options.Handle = None,
    reason: options.Reason = None,
    actor: options.Actor = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Record that the bearer of a session proved anew, just now, who it is."""
    with open_store(ledger, topic) as store:
        proved = store.reauthenticate(
            read_token() if handle is None else None,
            handle=handle,
            reason=reason,
            actor=actor,
            context=options.context(context),
        )
    show_session(proved, json, not_live("token" if handle is None else "handle"))


def patch(
    changes: Changes,
    handle: options.Handle = None,
    if_version: IfVersion = None,
    reason: options.Reason = None,
    actor: options.Actor = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Merge changes into the attributes of a live session; null removes a name.

    Of the session of a token, or of a handle. Other names stay as they are.
    """
    with open_store(ledger, topic) as store:
        patched = store.patch(
            read_token() if handle is None else None,
            changes,
            handle=handle,
            if_version=if_version,
            reason=reason,
            actor=actor,
            context=options.context(context),
        )
    show_session(patched, json, not_live("token" if handle is None else "handle"))


def rotate(
    principal: NewPrincipal = None,
    grace: Grace = None,
    reason: options.Reason = None,
    actor: options.Actor = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Replace the token of a live session, and print the new one, this once.

    In a pipe the new token stands alone on one line. Presented after its grace, the old one ends
    all sessions that it was rotated into.
    """
    with open_store(ledger, topic) as store:
        issued = store.rotate(
            read_token(),
            principal=principal,
            grace=grace,
            reason=reason,
            actor=actor,
            context=options.context(context),
        )
    if issued is None:
        raise not_live("token")
    show_issued(issued, json)
