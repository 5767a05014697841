"""The service as an ASGI application: which paths there are, and who answers them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

from litestar import Litestar, Response, route
from litestar.datastructures import ResponseHeader, State
from litestar.di import Provide
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.handlers.base import BaseRouteHandler
from litestar.params import QueryParameter

from sessionledger.server.asgi_app import OTHER, Application
from sessionledger.server.auth.permissions import PUBLIC, authorise, requires
from sessionledger.server.description import at_prefix, describe
from sessionledger.server.error_handlers import HANDLERS
from sessionledger.server.fast_path import Endpoint
from sessionledger.server.http.asgi import ASGIApp, Scope, read_only
from sessionledger.server.http.bodies import StrictRequest
from sessionledger.server.http.problems import invalid
from sessionledger.server.oauth.endpoints import Introspect, Revoke
from sessionledger.server.observe import metrics
from sessionledger.server.observe.access_log import RequestRecorder
from sessionledger.server.observe.log_writer import LogWriter
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.proxy.forward_auth import ForwardAuth
from sessionledger.server.routes import (
    bearer,
    events,
    history,
    listings,
    sessions,
    status,
    webhooks,
)
from sessionledger.server.service.service import PREFIX, Connection, Service
from sessionledger.server.settings import Settings

if TYPE_CHECKING:  # it takes an extra
    from sessionledger.web.backchannel.receiver import LogoutReceiver

MAX_NAME_CHARS = 64

ROUTES = [
    *status.ROUTES,
    *bearer.ROUTES,
    *sessions.ROUTES,
    *listings.ROUTES,
    *history.ROUTES,
    *events.ROUTES,
    *webhooks.ROUTES,
]
PATHS = {path.replace(":str", "") for route in ROUTES for path in route.paths}
LOGOUT = "/backchannel-logout"
WITHOUT_FRAMEWORK = ("/auth", "/introspect", "/revoke", LOGOUT, "/metrics", "/openapi.json")
LABELS = [*WITHOUT_FRAMEWORK, *sorted(PATHS), OTHER]


def create_app(
    settings: Settings | None = None, request_metrics: RequestMetrics | None = None
) -> Application:
    """The service on the ledger of the settings, which is open while the application runs.

    It is an ASGI application with a lifespan, for any ASGI server. Without a server, `running()`
    opens the ledger. request_metrics: where requests are counted, if several workers share it.
    """
    service = Service(settings or Settings(), request_metrics or RequestMetrics(LABELS))
    writer = LogWriter(service.metrics.count_dropped)
    write = writer.write if service.settings.access_log else None
    recorder = RequestRecorder(service.metrics, write)
    document = describe(ROUTES)
    endpoints: dict[str, Endpoint] = {
        "/auth": ForwardAuth(service),
        "/introspect": Introspect(service),
        "/revoke": Revoke(service),
    }

    async def exposition(_: Scope) -> bytes:
        return service.metrics.exposition(await service.stats())

    async def description(scope: Scope) -> bytes:
        return at_prefix(document, scope[PREFIX])

    applications = {
        "/metrics": read_only(metrics.MEDIA_TYPE, exposition),
        "/openapi.json": read_only("application/json", description),
    }
    if (receiver := logout_receiver(service.settings)) is not None:
        from sessionledger.web.backchannel.receiver import LogoutApplication

        applications[LOGOUT] = LogoutApplication(receiver, lambda: service.ledger.sessions)
    framework = _framework(service)
    return Application(service, framework, PATHS, endpoints, applications, recorder, writer)


def logout_receiver(settings: Settings) -> LogoutReceiver | None:
    """Receives logout tokens; None without a provider. Raises `ValueError` and `OSError`."""
    if settings.backchannel is None:
        return None
    from sessionledger.web.backchannel.receiver import receiver_in

    return receiver_in(settings.backchannel)


def _framework(service: Service) -> ASGIApp:
    # Methods come first: the framework answers OPTIONS only for the first handler of a path.
    paths = dict.fromkeys(path for route in ROUTES for path in route.paths)
    framework = Litestar(
        route_handlers=[*map(_methods_at, paths), *ROUTES],
        guards=[authorise, refuse_unknown_parameters],
        request_class=StrictRequest,
        exception_handlers=HANDLERS,
        response_headers=[ResponseHeader(name="Cache-Control", value="no-store")],
        request_max_body_size=service.settings.max_body_bytes,
        openapi_config=None,
        logging_config=None,
        state=State({"service": service}),
    )
    return cast(ASGIApp, framework)


def _methods_at(path: str) -> HTTPRouteHandler:
    """Answers OPTIONS with the methods that a path takes."""
    methods = {
        HttpMethod(method).value
        for one in ROUTES
        if path in one.paths
        for method in one.http_methods
    }
    allow = ", ".join(sorted(methods | {"OPTIONS"}))

    @route(
        path,
        http_method=HttpMethod.OPTIONS,
        status_code=204,
        opt=requires(PUBLIC),
        include_in_schema=False,
    )
    async def answer_options() -> Response[None]:
        return Response(None, headers={"Allow": allow})

    return answer_options


async def refuse_unknown_parameters(connection: Connection, handler: BaseRouteHandler) -> None:
    """Raises `HTTPProblem` for a query parameter that the route does not take.

    Otherwise a misspelt `keep` would end the session that was to stay. Public routes take any
    parameter: monitors add some to get past a cache.
    """
    if not connection.scope["query_string"] or handler.opt["permission"] == PUBLIC:
        return
    for name in connection.query_params:
        if name not in _parameters_of(handler):
            raise invalid(name[:MAX_NAME_CHARS], "is no parameter of this path")


@cache
def _parameters_of(handler: BaseRouteHandler) -> frozenset[str | None]:
    functions: list[BaseRouteHandler | Provide] = [handler]
    functions += handler.resolve_dependencies().values()
    parameters = (one for it in functions for one in it.parsed_fn_signature.parameters.values())
    taken = (one.kwarg_definition for one in parameters)
    return frozenset(one.name for one in taken if isinstance(one, QueryParameter))
