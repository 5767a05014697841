"""The commands about admin keys: `keys create`, `keys list`, `keys revoke`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from sessionledger import Session, SessionLimitReached, SessionStore
from sessionledger.cli.commands.listings import in_pages, refuse_pages
from sessionledger.cli.exit_codes import NO, REFUSED, USAGE, Failure, unknown
from sessionledger.cli.input import options
from sessionledger.cli.input.ledger import JSON, LEDGER, Ledger
from sessionledger.cli.input.token import read_token_from_input
from sessionledger.cli.input.values import duration
from sessionledger.cli.output.answers import columns, show, show_all, show_secret
from sessionledger.cli.output.formatting import Record
from sessionledger.cli.output.records import fields, session_record
from sessionledger.cli.output.stdout import on_terminal
from sessionledger.cli.output.tree import branch, in_tree_order
from sessionledger.cli.parser import Option, appended, command
from sessionledger.server.service.keys import KEY_POLICY, SCOPES, Key, NotAllowed, key_of, new_key
from sessionledger.server.settings import KEYS_TOPIC

TITLES = columns("name, scopes, state, last_seen_at last seen, expires_at expires, handle")


@command(
    Option("NAME", "What it is called."),
    Option(
        "--scope SCOPE",
        f"May be repeated: {', '.join(SCOPES)}.",
        collect=appended,
        required=True,
        suggestions=SCOPES,
    ),
    Option("--ttl SPAN", "How long it lives; 365d if not given.", read=duration),
    Option("--by-key", "Make it with the key on standard input; it can do no more than that key."),
    options.REASON,
    options.ACTOR,
    LEDGER,
    JSON,
)
def create(
    ledger: Ledger,
    json: bool,
    name: str,
    scope: list[str],
    ttl: timedelta | None,
    by_key: bool,
    reason: str | None,
    actor: str | None,
) -> None:
    """Make an admin key and print it, this once.

    What it may do never changes. No live key may have its name. With --by-key, the actor in the
    history is that key.
    """
    with ledger.at(KEYS_TOPIC).store(create=True, policy=KEY_POLICY) as store:
        maker = _maker(store, read_token_from_input()) if by_key else None
        try:
            attributes = new_key(name, scope, maker)
        except NotAllowed as error:
            raise Failure(USAGE, "invalid_key", str(error)) from None
        actor, parent = (maker.name, maker.handle) if maker else (actor, None)
        try:
            issued = store.create(
                name, ttl=ttl, attributes=attributes, parent=parent, reason=reason, actor=actor
            )
        except SessionLimitReached:
            if not store.count(principal=name):
                raise
            raise _name_taken(name) from None
    show_secret("key", issued.token, _record(issued), json)


@command(
    Option("--all", "Also keys that lapsed or were revoked."),
    options.TREE,
    options.LIMIT,
    options.CURSOR,
    LEDGER,
    JSON,
)
def list_keys(
    ledger: Ledger, json: bool, all: bool, tree: bool, limit: int | None, after: str | None
) -> None:
    """List the admin keys, and what each may do.

    With --limit, the cursor for --after is printed on stderr when there may be more.
    """
    if tree:
        refuse_pages(limit, after)
    with ledger.at(KEYS_TOPIC).store_to_read(policy=KEY_POLICY) as store:
        for_people = on_terminal() and not json
        record = _listed_record if for_people else _record
        listing = partial(store.sessions, state="all" if all else "live")
        if tree:
            branches = in_tree_order(listing(), listing())
            listed = (branch(record(key), "name", at, for_people) for at, key in branches)
        else:
            listed = (record(key) for key in in_pages(listing, after, limit))
        show_all(listed, TITLES, json)


@command(
    Option("--handle HANDLE", "The key.", required=True),
    options.REASON,
    options.ACTOR,
    LEDGER,
    JSON,
)
def revoke(ledger: Ledger, json: bool, handle: str, reason: str | None, actor: str | None) -> None:
    """Revoke an admin key, and all keys that were made with it.

    This is for good.
    """
    with ledger.at(KEYS_TOPIC).store(policy=KEY_POLICY) as store:
        ended = store.revoke(handle=handle, reason=reason, actor=actor)
    if ended is None:
        raise unknown("handle")
    show(_record(ended), json)


keys = {"create": create, "list": list_keys, "revoke": revoke}


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
    if session is None or key is None:
        raise Failure(NO, "not_live", "no live key is that")
    if "scope" not in session.attributes:
        raise Failure(
            REFUSED,
            "old_key",
            "an older version made that key, and it can make no others: use a newer key",
        )
    return key


def _record(session: Session) -> Record:
    whole = session_record(session, datetime.now(UTC))
    key = key_of(session)
    return {
        "name": session.principal,
        "scopes": sorted(key.scopes) if key else [],
        "state": whole["state"],
        **fields(session, "created_at last_seen_at expires_at handle"),
        "parent": session.parent,
    }


def _listed_record(session: Session) -> Record:
    """The same for a table, where scopes may be broken into several lines."""
    record = _record(session)
    return record | {"scopes": " ".join(record["scopes"])}
