"""The commands about the bearer of a session: authenticate, reauthenticate, rotate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Unpack

from sessionledger.cli.exit_codes import not_live
from sessionledger.cli.input import options
from sessionledger.cli.input.ledger import Ledger, ledger_command
from sessionledger.cli.input.options import Annotations
from sessionledger.cli.input.token import read_token
from sessionledger.cli.input.values import duration, duration_or_zero, json_object
from sessionledger.cli.output.records import show_issued, show_session
from sessionledger.cli.parser import Option


@ledger_command(
    Option("--max-auth-age SPAN", "How old its proof may be: 5m.", read=duration), options.CONTEXT
)
def authenticate(
    ledger: Ledger, json: bool, max_auth_age: timedelta | None, context: dict[str, str] | None
) -> None:
    """Show the live session of a token that a client sent.

    Records that the session was seen, where that is due. A rotated token after its grace ends its
    family.
    """
    with ledger.store() as store:
        found = store.authenticate(read_token(), max_auth_age=max_auth_age, context=context)
    show_session(found, json, not_live("token"))


@ledger_command(options.HANDLE_OR_TOKEN, *options.ANNOTATIONS)
def reauthenticate(
    ledger: Ledger, json: bool, handle: str | None, **annotations: Unpack[Annotations]
) -> None:
    """Record that a bearer has just proved its identity."""
    with ledger.store() as store:
        token = read_token() if handle is None else None
        proved = store.reauthenticate(token, handle=handle, **annotations)
    show_session(proved, json, not_live("token" if handle is None else "handle"))


@ledger_command(
    Option("--principal NAME", "The principal that has just logged in."),
    Option(
        "--grace SPAN",
        "How long the old token still authenticates: 30s, or 0s.",
        read=duration_or_zero,
    ),
    Option("--changes JSON|@FILE", "Merge these into the attributes.", read=json_object),
    *options.ANNOTATIONS,
)
def rotate(
    ledger: Ledger,
    json: bool,
    principal: str | None,
    grace: timedelta | None,
    changes: dict[str, Any] | None,
    **annotations: Unpack[Annotations],
) -> None:
    """Replace the token of a live session and print the new one.

    It is printed this once. In a pipe it stands alone on one line. The old token ends all sessions
    that it was rotated into, if it is presented after its grace.
    """
    with ledger.store() as store:
        issued = store.rotate(
            read_token(), principal=principal, grace=grace, changes=changes, **annotations
        )
    if issued is None:
        raise not_live("token")
    show_issued(issued, json)
