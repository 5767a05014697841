"""What the OpenAPI document says beside what the handlers say themselves."""

from __future__ import annotations

from litestar import Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme

from sessionledger import __version__
from sessionledger.server.rights import NOBODY, needs

ADMIN_KEY = "adminKey"
SESSION_TOKEN = "sessionToken"  # noqa: S105  the name of a scheme

OPENAPI = OpenAPIConfig(
    title="sessionledger",
    version=__version__,
    description="Revocable bearer sessions on an event log.",
    path="/",
    openapi_router=Router("/", route_handlers=[], opt=needs(NOBODY)),
    render_plugins=[JsonRenderPlugin(path="/openapi.json")],
    components=Components(
        security_schemes={
            ADMIN_KEY: SecurityScheme(
                type="http", scheme="bearer", description="An admin key with the scope in question."
            ),
            SESSION_TOKEN: SecurityScheme(
                type="http", scheme="bearer", description="The token of a session."
            ),
        }
    ),
)
