"""The service as an ASGI application."""

from __future__ import annotations

from typing import cast

from litestar import Litestar
from litestar.datastructures import ResponseHeader, State

from sessionledger.server import bearer, health, listings, sessions
from sessionledger.server.asgi import App
from sessionledger.server.bodies import StrictRequest
from sessionledger.server.description import OPENAPI
from sessionledger.server.front import Front
from sessionledger.server.refusals import HANDLERS
from sessionledger.server.rights import authorise
from sessionledger.server.service import Service
from sessionledger.server.settings import Settings

ROUTES = [*health.ROUTES, *bearer.ROUTES, *sessions.ROUTES, *listings.ROUTES]


def create_app(settings: Settings | None = None) -> Front:
    """The service on the ledger of the settings, which is open while the application is.

    An ASGI application with a lifespan, for any server of ASGI applications; `running()` opens the
    ledger where there is no such server.
    """
    service = Service(settings or Settings())
    return Front(service, cast(App, _framework(service)))


def _framework(service: Service) -> Litestar:
    return Litestar(
        route_handlers=ROUTES,
        guards=[authorise],
        request_class=StrictRequest,
        exception_handlers=HANDLERS,
        response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
        request_max_body_size=service.settings.max_body_bytes,
        openapi_config=OPENAPI,
        logging_config=None,
        state=State({"service": service}),
    )
