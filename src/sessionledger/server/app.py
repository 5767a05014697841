"""The service as an ASGI application: which paths there are, and who answers them."""

from __future__ import annotations

from typing import cast

from litestar import Litestar
from litestar.datastructures import ResponseHeader, State

from sessionledger.server.asgi_app import OTHER, Front
from sessionledger.server.auth.permissions import authorise
from sessionledger.server.description import describe
from sessionledger.server.error_handlers import HANDLERS
from sessionledger.server.fast_path import Endpoint, application
from sessionledger.server.http.asgi import App
from sessionledger.server.http.bodies import StrictRequest
from sessionledger.server.http.pages import Page
from sessionledger.server.oauth.introspection import Introspect
from sessionledger.server.oauth.revocation import Revoke
from sessionledger.server.observe import metrics
from sessionledger.server.observe.access_log import Noted, write_to_stderr
from sessionledger.server.observe.metrics import Tally
from sessionledger.server.proxy.forward_auth import ForwardAuth
from sessionledger.server.routes import bearer, events, health, listings, sessions
from sessionledger.server.routes.methods import options_at
from sessionledger.server.routes.parameters import refuse_unknown
from sessionledger.server.service.service import Service
from sessionledger.server.settings import Settings

ROUTES = [
    *health.ROUTES,
    *bearer.ROUTES,
    *sessions.ROUTES,
    *listings.ROUTES,
    *events.ROUTES,
]
# First of all: the framework answers OPTIONS for the first handler of a path alone.
OPTIONS = [options_at(path, ROUTES) for path in dict.fromkeys(p for r in ROUTES for p in r.paths)]
PATHS = {path.replace(":str", "") for route in ROUTES for path in route.paths}
BARE = ("/auth", "/introspect", "/revoke", "/metrics", "/openapi.json")
LABELS = [*BARE, *sorted(PATHS), OTHER]


def create_app(settings: Settings | None = None, tally: Tally | None = None) -> Front:
    """The service on the ledger of the settings, which is open while the application is.

    An ASGI application with a lifespan, for any server of ASGI applications; `running()` opens the
    ledger where there is no such server. tally: where requests are counted, if not in this process
    alone.
    """
    service = Service(settings or Settings(), tally or Tally(LABELS))
    write = write_to_stderr if service.settings.access_log else None
    noted = Noted(service.tally, write)
    return Front(
        service, _framework(service), PATHS, _prompt(service), _bare(service, noted), noted
    )


def _prompt(service: Service) -> dict[str, Endpoint]:
    """What is asked most, and writes nothing itself."""
    auth = ForwardAuth(service)
    return {"/auth": auth, "/auth/": auth, "/introspect": Introspect(service)}


def _bare(service: Service, noted: Noted) -> dict[str, App]:
    """What else is answered without the framework, which has no words for it."""
    document = describe(ROUTES)
    return {
        "/revoke": application(Revoke(service)),
        "/metrics": Page(metrics.MEDIA_TYPE, noted.exposition),
        "/openapi.json": Page("application/json", lambda: document),
    }


def _framework(service: Service) -> App:
    framework = Litestar(
        route_handlers=[*OPTIONS, *ROUTES],
        guards=[authorise, refuse_unknown],
        request_class=StrictRequest,
        exception_handlers=HANDLERS,
        response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
        request_max_body_size=service.settings.max_body_bytes,
        openapi_config=None,
        logging_config=None,
        state=State({"service": service}),
    )
    return cast(App, framework)
