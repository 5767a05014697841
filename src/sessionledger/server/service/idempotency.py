"""Creating once, however often the request arrives: `Idempotency-Key`.

For each key of each caller there is a record, in a topic of its own. It is a session whose token is
made from caller and key: so only one of several concurrent requests can create it.

1. The record names the new session's handle and the request's hash before the session exists.
2. A request that finds a record of the same request rotates the session that it names, without
   grace. The first token is stored nowhere, and after the rotation only the new one is good.
3. A record without a session is taken over once it is so old that its creator must have failed.
4. What began goes on where its request times out. So the same request then finds the session.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from os import urandom
from typing import TypeAlias

import msgspec

from sessionledger import (
    DuplicateSession,
    IssuedSession,
    Session,
    SessionLedgerError,
    VersionConflict,
)
from sessionledger.core.token import (
    TOKEN_RANDOM_BYTES,
    GeneratedToken,
    Handle,
    digest,
    handle_of,
    issue,
)
from sessionledger.server.http.problems import HTTPProblem
from sessionledger.server.http.schemas import NewSession
from sessionledger.server.service.keys import Key
from sessionledger.server.service.ledger import Ledger

TAKE_OVER_SECONDS = 60.0
REPLAYED = "replayed"

Create: TypeAlias = Callable[[str | None], Awaitable[IssuedSession]]

_encode = msgspec.json.Encoder(order="sorted").encode
# An event loop keeps no task alive by itself.
_going_on: set[asyncio.Task[IssuedSession]] = set()


async def create_once(
    ledger: Ledger, caller: Key, key: str, document: NewSession, create: Create
) -> IssuedSession:
    """The session that the first request of this key began, with a token that is good now.

    Raises `HTTPProblem` for a key that another request had, and while the first is under way.
    """
    creating = asyncio.create_task(_create_once(ledger, caller, key, document, create))
    _going_on.add(creating)
    creating.add_done_callback(_end)
    return await asyncio.shield(creating)


def _end(creating: asyncio.Task[IssuedSession]) -> None:
    _going_on.discard(creating)
    if not creating.cancelled():
        creating.exception()  # read here, since the request may be over


async def _create_once(
    ledger: Ledger, caller: Key, key: str, document: NewSession, create: Create
) -> IssuedSession:
    name = _record_token(caller, key)
    # With the name, which is stored nowhere, it confirms no guess of a name in the request.
    request = hmac.digest(name.encode(), _encode(document), "sha256").hex()
    token = issue(urandom(TOKEN_RANDOM_BYTES))
    handle = handle_of(digest(token))
    try:
        await ledger.idempotency.create(
            caller.name,
            token=name,
            attributes={"request": request, "handle": handle, "at": _now()},
        )
    except DuplicateSession:
        return await _repeat(ledger, caller, name, request, create)
    return await _begin(ledger, name, token, create)


async def _begin(ledger: Ledger, name: str, token: str, create: Create) -> IssuedSession:
    """Begin the session. A request that the ledger refuses leaves its key to the next."""
    try:
        return await create(token)
    except SessionLedgerError:
        await ledger.idempotency.patch(name, {"refused": True})
        raise


async def _repeat(
    ledger: Ledger, caller: Key, name: str, request: str, create: Create
) -> IssuedSession:
    record = await ledger.idempotency.get(name)
    if record is None:
        raise _conflict("idempotency_key_spent", "that key was used too long ago")
    if record.attributes["request"] != request:
        raise _conflict("idempotency_key_reused", "that key had another request")
    handle = await _newest(ledger, record.attributes["handle"])
    if handle is None:
        return await _take_over(ledger, name, record, create)
    return await _rotated(ledger, caller, handle)


async def _rotated(ledger: Ledger, caller: Key, handle: Handle) -> IssuedSession:
    """The newest of a session, rotated. Others that repeat the request may rotate it as well."""
    before: Handle | None = None
    while handle != before:
        issued = await ledger.sessions.rotate(
            handle=handle, grace=timedelta(0), reason=REPLAYED, actor=caller.name
        )
        if issued is not None:
            return issued
        before, handle = handle, await _newest(ledger, handle) or handle
    raise _conflict("session_over", "the session that the key began is over")


async def _newest(ledger: Ledger, handle: Handle) -> Handle | None:
    """The newest that a session was rotated into; None for one that never began."""
    now = datetime.now(UTC)
    session = await ledger.sessions.as_of(handle=handle, at=now)
    while session is not None and session.successors:
        handle = session.successors[-1]
        session = await ledger.sessions.as_of(handle=handle, at=now)
    return None if session is None else session.handle


async def _take_over(ledger: Ledger, name: str, record: Session, create: Create) -> IssuedSession:
    """Begin the session that the record's creator did not."""
    refused = record.attributes.get("refused", False)
    if not refused and _now() - record.attributes["at"] < TAKE_OVER_SECONDS:
        raise _under_way()
    token = issue(urandom(TOKEN_RANDOM_BYTES))
    taken = {"handle": handle_of(digest(token)), "refused": None, "at": _now()}
    try:
        await ledger.idempotency.patch(name, taken, if_version=record.version)
    except VersionConflict:
        raise _under_way() from None
    return await _begin(ledger, name, token, create)


def _record_token(caller: Key, key: str) -> GeneratedToken:
    return GeneratedToken(sha256(f"{caller.handle}\n{key}".encode()).hexdigest())


def _now() -> float:
    return datetime.now(UTC).timestamp()


def _under_way() -> HTTPProblem:
    detail = "the first request of that key is under way"
    return _conflict("idempotency_under_way", detail, {"Retry-After": "1"})


def _conflict(code: str, detail: str, headers: Mapping[str, str] | None = None) -> HTTPProblem:
    return HTTPProblem(409, code, detail, field="Idempotency-Key", headers=headers)
