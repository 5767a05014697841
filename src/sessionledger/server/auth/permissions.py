"""Rights: every route says what it takes, and this is where it is asked for.

A route that says nothing is refused: forgetting it must not open a door.
"""

from __future__ import annotations

from typing import Any

from litestar.handlers.base import BaseRouteHandler

from sessionledger.server.auth.credentials import bearer_token, insufficient, missing, refused_token
from sessionledger.server.service.keys import SCOPES, authenticate_key
from sessionledger.server.service.service import Connection, service_of

BEARER = "bearer"
NOBODY = "nobody"


def needs(right: str) -> dict[str, Any]:
    """What a route is declared with: a scope of admin keys, `BEARER`, or `NOBODY`'s right."""
    assert right in (*SCOPES, BEARER, NOBODY)
    return {"needs": right}


async def authorise(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let a request in, or raise `Refused`."""
    needed = handler.opt.get("needs")
    assert needed is not None, "a route says what it needs"
    if needed == NOBODY:
        return
    realm = service_of(connection).settings.realm
    token = bearer_token(connection.scope["headers"], realm)
    if token is None:
        raise missing(realm)
    if needed == BEARER:
        await _authorise_bearer(connection, token, realm)
    else:
        await _authorise_key(connection, token, realm, needed)


async def _authorise_bearer(connection: Connection, token: str, realm: str) -> None:
    session = await service_of(connection).ledger.sessions.authenticate(token)
    if session is None:
        raise refused_token(realm)
    connection.state.bearer = (token, session)


async def _authorise_key(connection: Connection, token: str, realm: str, needed: str) -> None:
    key = await authenticate_key(service_of(connection).ledger.keys, token)
    if key is None:
        raise refused_token(realm)
    if needed not in key.scopes:
        raise insufficient(realm, needed)
    connection.state.caller = key
