"""The commands about admin keys: `keys create`, `keys list`, `keys revoke`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from sessionledger import Session, SessionLimitReached, SessionStore
from sessionledger.cli import options
from sessionledger.cli.exits import MEANINGS, NO, REFUSED, USAGE, Failure, unknown
from sessionledger.cli.opening import open_store, store_to_read
from sessionledger.cli.present import Record, on_terminal, show, show_all, write
from sessionledger.cli.records import session_record
from sessionledger.cli.secret import read_token_from_input
from sessionledger.server.service.keys import KEY_POLICY, SCOPES, Key, NotAllowed, key_of, new_key
from sessionledger.server.settings import KEYS_TOPIC

TITLES = {
    "name": "name",
    "scopes": "scopes",
    "state": "state",
    "last_seen_at": "last seen",
    "expires_at": "expires",
    "handle": "handle",
}

app = typer.Typer(
    name="keys", help="Make, list and revoke the admin keys of the service.", epilog=MEANINGS
)

Scope = Annotated[
    list[str],
    typer.Option("--scope", metavar="SCOPE", help=f"May be repeated: {', '.join(SCOPES)}."),
]
ByKey = Annotated[
    bool,
    typer.Option(
        "--by-key", help="Make it with the key on standard input: it can do no more than that one."
    ),
]
KeyTtl = Annotated[
    timedelta | None,
    typer.Option("--ttl", parser=options.duration, metavar="SPAN", help="How long; 365d if not."),
]
KeyHandle = Annotated[str, typer.Option("--handle", metavar="HANDLE", help="The key.")]


@app.command(epilog=MEANINGS)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called.")],
    scope: Scope,
    ttl: KeyTtl = None,
    by_key: ByKey = False,
    reason: options.Reason = None,
    ledger: options.Ledger = options.LEDGER,
    json: options.Json = False,
) -> None:
    """Make an admin key and print it, this once. What it may do never changes.

    Its name is free, or was that of a key that is over.
    """
    with open_store(ledger, KEYS_TOPIC, create=True, policy=KEY_POLICY) as store:
        maker = _maker(store, read_token_from_input()) if by_key else None
        try:
            attributes = new_key(name, scope, maker)
        except NotAllowed as error:
            raise Failure(USAGE, "invalid_key", str(error)) from None
        actor = maker.name if maker else None
        try:
            issued = store.create(name, ttl=ttl, attributes=attributes, reason=reason, actor=actor)
        except SessionLimitReached:
            raise _name_taken(name) from None
    if json:
        show({"key": issued.token, **_record(issued)}, json)
        return
    if on_terminal():
        show(_record(issued), json)
        write("\nThe key, shown this once:")
    write(issued.token)


@app.command(name="list", epilog=MEANINGS)
def list_keys(
    all: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    ledger: options.Ledger = options.LEDGER,
    json: options.Json = False,
) -> None:
    """List the admin keys, and what each may do."""
    with store_to_read(ledger, KEYS_TOPIC, policy=KEY_POLICY) as store:
        record = _listed_record if on_terminal() and not json else _record
        show_all(map(record, store.sessions(live=not all)), TITLES, json)


@app.command(epilog=MEANINGS)
def revoke(
    handle: KeyHandle,
    reason: options.Reason = None,
    actor: options.Actor = None,
    ledger: options.Ledger = options.LEDGER,
    json: options.Json = False,
) -> None:
    """Revoke an admin key, for good, and with it all keys that were made with it."""
    with open_store(ledger, KEYS_TOPIC, policy=KEY_POLICY) as store:
        ended = store.revoke(handle=handle, reason=reason, actor=actor)
    if ended is None:
        raise unknown("handle")
    show(_record(ended), json)


def _name_taken(name: str) -> Failure:
    return Failure(
        REFUSED,
        "name_taken",
        f"there is a live key named {name}: choose another name, or first revoke that one",
    )


def _maker(store: SessionStore, token: str) -> Key:
    """The key that makes another. Raises `Failure` for one that is not good."""
    session = store.authenticate(token)
    key = None if session is None else key_of(session)
    if key is None or any(store.find(handle=handle) is None for handle in key.ancestors):
        raise Failure(NO, "not_live", "no live key is that")
    return key


def _record(session: Session) -> Record:
    whole = session_record(session, datetime.now(UTC))
    key = key_of(session)
    return {
        "name": session.principal,
        "scopes": sorted(key.scopes) if key else [],
        "state": whole["state"],
        "created_at": session.created_at,
        "last_seen_at": session.last_seen_at,
        "expires_at": session.expires_at,
        "handle": session.handle,
        "ancestors": list(key.ancestors) if key else [],
    }


def _listed_record(session: Session) -> Record:
    """The same for a table, which has room for all the scopes where they may stand on lines."""
    record = _record(session)
    return record | {"scopes": " ".join(record["scopes"])}
