"""Creating once, however often the request arrives: `Idempotency-Key`.

For each key of each caller there is a record, in a topic of its own: a session of ours whose token
is made from caller and key, so that of concurrent requests one alone can make it.

1. The record names the new session's handle and the request's hash before the session is there.
2. Who finds a record of the same request rotates the session that it names, without grace: the
   token that the first answer held is stored nowhere, and whoever got it can't use both.
3. A record whose session never came to be is taken over once it is old enough that its maker can't
   be still at it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from os import urandom
from typing import Annotated, TypeAlias

import msgspec
from litestar.params import HeaderParameter

from sessionledger import (
    DuplicateSession,
    IssuedSession,
    Session,
    SessionLedgerError,
    VersionConflict,
)
from sessionledger.core.token import TOKEN_RANDOM_BYTES, Handle, digest, handle_of, issue
from sessionledger.server.http.problems import Refused
from sessionledger.server.http.schemas import NewSession
from sessionledger.server.service.keys import Key
from sessionledger.server.service.ledger import Ledger

AT_IT_FOR = 60.0
REPLAYED = "replayed"

KEY_PATTERN = r"^[\x21-\x7e]{1,255}$"
IdempotencyKey: TypeAlias = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        required=False,
        pattern=KEY_PATTERN,
        description="One request's own name, printable and without spaces.",
    ),
]
Create: TypeAlias = Callable[[str | None], Awaitable[IssuedSession]]

_encode = msgspec.json.Encoder(order="sorted").encode


async def create_once(
    ledger: Ledger, caller: Key, key: str, asked: NewSession, create: Create
) -> IssuedSession:
    """The session that the first request of this key began, with a token that is good now.

    Raises `Refused` for a key that another request had, and while the first is under way.
    """
    name, request = _record_token(caller, key), sha256(_encode(asked)).hexdigest()
    token = issue(urandom(TOKEN_RANDOM_BYTES))
    handle = handle_of(digest(token))
    try:
        await ledger.replays.create(
            caller.name,
            token=name,
            attributes={"request": request, "handle": handle, "at": _now()},
        )
    except DuplicateSession:
        return await _replay(ledger, caller, name, request, create)
    return await _begin(ledger, name, token, create)


async def _begin(ledger: Ledger, name: str, token: str, create: Create) -> IssuedSession:
    """Begin the session; a request that is refused leaves its key to the next."""
    try:
        return await create(token)
    except SessionLedgerError:
        await ledger.replays.patch(name, {"refused": True})
        raise


async def _replay(
    ledger: Ledger, caller: Key, name: str, request: str, create: Create
) -> IssuedSession:
    record = await ledger.replays.get(name)
    if record is None:
        raise Refused(409, "idempotency_key_spent", "that key was used too long ago", field=_FIELD)
    if record.attributes["request"] != request:
        raise Refused(409, "idempotency_key_reused", "that key had another request", field=_FIELD)
    handle = await _newest(ledger, record.attributes["handle"])
    if handle is None:
        return await _take_over(ledger, name, record, create)
    return await _rotated(ledger, caller, handle)


async def _rotated(ledger: Ledger, caller: Key, handle: Handle) -> IssuedSession:
    """The newest of a session, rotated; others who replay the request may rotate it as well."""
    before: Handle | None = None
    while handle != before:
        issued = await ledger.sessions.rotate(
            handle=handle, grace=timedelta(0), reason=REPLAYED, actor=caller.name
        )
        if issued is not None:
            return issued
        before, handle = handle, await _newest(ledger, handle) or handle
    raise Refused(409, "session_over", "the session that the key began is over", field=_FIELD)


async def _newest(ledger: Ledger, handle: Handle) -> Handle | None:
    """The newest that a session was rotated into; None for one that never began."""
    now = datetime.now(UTC)
    session = await ledger.sessions.as_of(handle=handle, at=now)
    while session is not None and session.successors:
        handle = session.successors[-1]
        session = await ledger.sessions.as_of(handle=handle, at=now)
    return None if session is None else session.handle


async def _take_over(ledger: Ledger, name: str, record: Session, create: Create) -> IssuedSession:
    """Begin the session whose maker was gone before it could."""
    refused = record.attributes.get("refused", False)
    if not refused and _now() - record.attributes["at"] < AT_IT_FOR:
        raise _under_way()
    token = issue(urandom(TOKEN_RANDOM_BYTES))
    taken = {"handle": handle_of(digest(token)), "refused": None, "at": _now()}
    try:
        await ledger.replays.patch(name, taken, if_version=record.version)
    except VersionConflict:
        raise _under_way() from None
    return await _begin(ledger, name, token, create)


def _record_token(caller: Key, key: str) -> str:
    return sha256(f"{caller.handle}\n{key}".encode()).hexdigest()


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _under_way() -> Refused:
    return Refused(
        409,
        "idempotency_under_way",
        "the first request of that key is under way",
        field=_FIELD,
        headers={"Retry-After": "1"},
    )


_FIELD = "Idempotency-Key"
