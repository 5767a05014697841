"""Which methods a path takes, for who asks with OPTIONS."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import Response, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from sessionledger.server.auth.permissions import NOBODY, needs


def options_at(path: str, routes: Sequence[HTTPRouteHandler]) -> HTTPRouteHandler:
    """A route that answers with all methods that these routes take at a path."""
    methods = {
        HttpMethod(method).value
        for one in routes
        if path in one.paths
        for method in one.http_methods
    }
    allow = ", ".join(sorted(methods | {"OPTIONS"}))

    @route(
        path,
        http_method=HttpMethod.OPTIONS,
        status_code=204,
        opt=needs(NOBODY),
        include_in_schema=False,
    )
    async def answer_options() -> Response[None]:
        return Response(None, headers={"Allow": allow})

    return answer_options
