"""Parameters that several routes take, and those that none does."""

from __future__ import annotations

from functools import cache
from typing import Annotated, TypeAlias

from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter

from sessionledger.server.auth.permissions import NOBODY
from sessionledger.server.http.problems import invalid
from sessionledger.server.service.service import Connection

_SHOWN_CHARS = 64

Reason: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        name="reason", required=False, max_length=1024, description="Kept in the history."
    ),
]


async def refuse_unknown(connection: Connection, handler: BaseRouteHandler) -> None:
    """Raises `Refused` for a parameter in the query that the route does not take: with a `keep`
    that is misspelt, the session that was to be kept would end.

    Whoever may ask without a right may also ask with a parameter that defeats caches.
    """
    if not connection.scope["query_string"] or handler.opt["needs"] == NOBODY:
        return
    for name in connection.query_params:
        if name not in _taken_by(handler):
            raise invalid(name[:_SHOWN_CHARS], "is no parameter of this path")


@cache
def _taken_by(handler: BaseRouteHandler) -> frozenset[str | None]:
    taken = (one.kwarg_definition for one in handler.parsed_fn_signature.parameters.values())
    return frozenset(one.name for one in taken if isinstance(one, QueryParameter))
