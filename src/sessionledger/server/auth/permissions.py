"""Permissions: every route names the one that it requires, and this guard asks for it.

A route that names none is refused: forgetting it must not open a door.
"""

from __future__ import annotations

from typing import Any

from litestar.handlers.base import BaseRouteHandler

from sessionledger.server.auth.credentials import bearer_token, refused
from sessionledger.server.service.keys import SCOPES, authenticate_key
from sessionledger.server.service.service import Connection, service_of
from sessionledger.web import challenges

BEARER = "bearer"
PUBLIC = "public"


def requires(permission: str) -> dict[str, Any]:
    """The `opt` of a route: a scope of admin keys, `BEARER` for any live session, or `PUBLIC`."""
    assert permission in (*SCOPES, BEARER, PUBLIC)
    return {"permission": permission}


async def authorise(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let a request in, or raise `HTTPProblem`."""
    permission = handler.opt.get("permission")
    assert permission is not None, "a route names the permission that it requires"
    if permission == PUBLIC:
        return
    realm = service_of(connection).settings.realm
    token = bearer_token(connection.scope["headers"], realm)
    if token is None:
        raise refused(challenges.missing(realm))
    if permission == BEARER:
        await _authorise_bearer(connection, token, realm)
    else:
        await _authorise_key(connection, token, realm, permission)


async def _authorise_bearer(connection: Connection, token: str, realm: str) -> None:
    session = await service_of(connection).ledger.sessions.authenticate(token)
    if session is None:
        raise refused(challenges.refused_token(realm))
    connection.state.bearer = (token, session)


async def _authorise_key(connection: Connection, token: str, realm: str, scope: str) -> None:
    key = await authenticate_key(service_of(connection).ledger.keys, token)
    if key is None:
        raise refused(challenges.refused_token(realm))
    if scope not in key.scopes:
        raise refused(challenges.insufficient(realm, scope))
    connection.state.caller = key
