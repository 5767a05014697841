"""The commands about one session: create, find-or-create, get, touch, patch, expire, revoke."""

from __future__ import annotations

from typing import Any, Unpack

from sessionledger import IssuedSession, Policy
from sessionledger.cli.exit_codes import bad_usage, not_live, unknown
from sessionledger.cli.input import options
from sessionledger.cli.input.ledger import Ledger, ledger_command
from sessionledger.cli.input.options import Annotations, Beginning, Ending, Renewal
from sessionledger.cli.input.token import read_token, read_token_from_input
from sessionledger.cli.input.values import duration, json_object, session_handle, whole_number
from sessionledger.cli.output.records import show_issued, show_session
from sessionledger.cli.parser import Option

_BEGINNING = (
    Option("PRINCIPAL", "Whom it is for."),
    options.TTL,
    options.EXPIRES_AT,
    Option("--idle-timeout SPAN", "How long it lives without being touched: 30m.", read=duration),
    Option(
        "--absolute-timeout SPAN", "How long it lives at most, touched or not: 24h.", read=duration
    ),
    options.ATTRIBUTES,
)


@ledger_command(
    *_BEGINNING,
    Option("--external-id ID", "The application's own name: an OIDC sid."),
    Option(
        "--parent HANDLE", "The session that it is a child of, and ends with.", read=session_handle
    ),
    Option(
        "--max-sessions N", "How many live sessions the principal may have.", read=whole_number(1)
    ),
    Option("--evict-oldest", "End the oldest when there are more."),
    Option("--token-stdin", "Use the token on standard input, not a new one."),
    *options.ANNOTATIONS,
)
def create(
    ledger: Ledger,
    json: bool,
    principal: str,
    external_id: str | None,
    parent: str | None,
    max_sessions: int | None,
    evict_oldest: bool,
    token_stdin: bool,
    **beginning: Unpack[Beginning],
) -> None:
    """Begin a session and print its token, this once.

    Makes the ledger if it does not exist. In a pipe the token stands alone on one line.
    """
    if evict_oldest and max_sessions is None:
        raise bad_usage("--evict-oldest needs --max-sessions, which says how many are kept")
    policy = Policy(
        max_sessions_per_principal=max_sessions, on_limit="evict_oldest" if evict_oldest else "deny"
    )
    token = read_token_from_input() if token_stdin else None
    with ledger.store(create=True, policy=policy) as store:
        issued = store.create(
            principal, token=token, external_id=external_id, parent=parent, **beginning
        )
    show_issued(issued, json)


@ledger_command(
    *_BEGINNING,
    Option("EXTERNAL_ID", "The application's own name for it."),
    *options.ANNOTATIONS,
)
def find_or_create(
    ledger: Ledger, json: bool, principal: str, external_id: str, **beginning: Unpack[Beginning]
) -> None:
    """Find the live session of a principal with an external id, or begin it.

    Of many at once, one begins it and prints its token, as `create` does. The others show the
    session as `get` does.
    """
    with ledger.store(create=True) as store:
        found = store.find_or_create(principal, external_id=external_id, **beginning)
    if isinstance(found, IssuedSession):
        show_issued(found, json)
    else:
        show_session(found, json, not_live("external id"))


@ledger_command(options.HANDLE_OR_TOKEN)
def get(ledger: Ledger, json: bool, handle: str | None) -> None:
    """Show the live session of a token, or of a handle."""
    with ledger.store_to_read() as store:
        if handle is None:
            show_session(store.get(read_token()), json, not_live("token"))
        else:
            show_session(store.find(handle=handle), json, not_live("handle"))


@ledger_command(
    options.HANDLE_OR_TOKEN,
    options.NEW_TTL,
    options.EXPIRES_AT,
    options.ATTRIBUTES,
    *options.ANNOTATIONS,
)
def touch(ledger: Ledger, json: bool, handle: str | None, **renewal: Unpack[Renewal]) -> None:
    """Record that the session of a token, or of a handle, was seen just now."""
    with ledger.store() as store:
        token = read_token() if handle is None else None
        touched = store.touch(token, handle=handle, **renewal)
    show_session(touched, json, not_live("token" if handle is None else "handle"))


@ledger_command(
    Option("CHANGES", "The changes, or a file that holds them.", read=json_object),
    options.HANDLE_OR_TOKEN,
    Option("--if-version N", "Only if the session is at this version.", read=whole_number(1)),
    options.NEW_TTL,
    options.EXPIRES_AT,
    *options.ANNOTATIONS,
)
def patch(
    ledger: Ledger,
    json: bool,
    changes: dict[str, Any],
    handle: str | None,
    if_version: int | None,
    **ending: Unpack[Ending],
) -> None:
    """Merge changes into the attributes of a live session.

    A null removes a name; other names stay as they are. The session is that of a token, or of a
    handle.
    """
    with ledger.store() as store:
        token = read_token() if handle is None else None
        patched = store.patch(token, changes, handle=handle, if_version=if_version, **ending)
    show_session(patched, json, not_live("token" if handle is None else "handle"))


@ledger_command(*options.ANNOTATIONS)
def expire(ledger: Ledger, json: bool, **annotations: Unpack[Annotations]) -> None:
    """End the session of a token, for good."""
    with ledger.store() as store:
        ended = store.expire(read_token(), **annotations)
    show_session(ended, json, unknown("token"))


@ledger_command(options.HANDLE, *options.ANNOTATIONS)
def revoke(ledger: Ledger, json: bool, handle: str, **annotations: Unpack[Annotations]) -> None:
    """End the session of a handle, for good."""
    with ledger.store() as store:
        ended = store.revoke(handle=handle, **annotations)
    show_session(ended, json, unknown("handle"))
