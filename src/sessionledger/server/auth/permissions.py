"""Permissions: every route names the one that it requires, and this guard asks for it.

A route that names none is refused: forgetting it must not open a door.
"""

from __future__ import annotations

from typing import Any

from litestar.handlers.base import BaseRouteHandler

from sessionledger import Session
from sessionledger.server.auth.credentials import bearer_token, refused
from sessionledger.server.service.keys import SCOPES, authenticate_key
from sessionledger.server.service.service import Connection, count_of, service_of
from sessionledger.web import challenges

BEARER = "bearer"
PUBLIC = "public"


def requires(permission: str, *also: str) -> dict[str, Any]:
    """The `opt` of a route: scopes of admin keys, `BEARER` for any live session, or `PUBLIC`."""
    assert {permission, *also} <= {*SCOPES, BEARER, PUBLIC}
    return {"permission": permission, "also": also}


ENDS_OWN = {**requires(BEARER), "ends": True}
"""The `opt` of a route by which bearers end sessions. It is never refused for asking too much."""


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
        session = await _authorise_bearer(connection, token, realm)
        if "ends" not in handler.opt:
            count_of(connection).take_principal(session)
    else:
        await _authorise_key(connection, token, realm, permission, handler.opt["also"])


async def _authorise_bearer(connection: Connection, token: str, realm: str) -> Session:
    session = await service_of(connection).ledger.sessions.authenticate(token)
    if session is None:
        raise refused(challenges.refused_token(realm))
    connection.state.bearer = (token, session)
    count_of(connection).is_counted = True
    return session


async def _authorise_key(
    connection: Connection, token: str, realm: str, scope: str, also: tuple[str, ...]
) -> None:
    key = await authenticate_key(service_of(connection).ledger.keys, token)
    if key is None:
        raise refused(challenges.refused_token(realm))
    count_of(connection).take_key(key, scope)
    for needed in (scope, *also):
        if needed not in key.scopes:
            raise refused(challenges.insufficient(realm, needed))
