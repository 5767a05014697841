"""The plugin, guards, and dependencies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, TypeAlias, cast

from sessionledger import AsyncSessionStore
from sessionledger.integrations.asgi import AsgiSessions
from sessionledger.integrations.extras import missing
from sessionledger.integrations.request_session import RequestSession
from sessionledger.integrations.requirements import A_SESSION, Requirements
from sessionledger.integrations.settings import Settings
from sessionledger.web.challenges import Denied

try:
    from litestar.config.app import AppConfig
    from litestar.connection import ASGIConnection
    from litestar.di import NamedDependency, Provide
    from litestar.exceptions import (
        ClientException,
        HTTPException,
        NotAuthorizedException,
        PermissionDeniedException,
        ServiceUnavailableException,
        TooManyRequestsException,
    )
    from litestar.handlers.base import BaseRouteHandler
    from litestar.openapi.spec import Components, SecurityScheme
    from litestar.plugins import InitPlugin
    from litestar.types import Middleware, Scope
except ModuleNotFoundError as error:
    raise missing("litestar") from error

RequestSessionDependency: TypeAlias = NamedDependency[RequestSession]
"""The request session, as a handler declares it: `request_session: RequestSessionDependency`."""

Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]
Guard: TypeAlias = Callable[[Connection, BaseRouteHandler], Awaitable[None]]

_EXCEPTIONS: dict[int, type[HTTPException]] = {
    400: ClientException,
    401: NotAuthorizedException,
    403: PermissionDeniedException,
    429: TooManyRequestsException,
    503: ServiceUnavailableException,
}


def refused(denied: Denied) -> HTTPException:
    """What is denied, as the framework's exception."""
    kind = _EXCEPTIONS[denied.status]
    return kind(detail=denied.detail, status_code=denied.status, headers=denied.headers)


class Sessions(AsgiSessions, InitPlugin):
    """The sessions of an application, as a plugin.

    It opens the store while the application runs, and gives handlers the dependency
    `request_session`. required: a guard for requests with a live session; 401 without. security:
    for `security=` of a handler, so that the OpenAPI document says where tokens are taken from.
    """

    refuse = staticmethod(refused)
    required: Guard

    def __init__(
        self, open_store: Callable[[], AsyncSessionStore], *, settings: Settings | None = None
    ) -> None:
        super().__init__(open_store, settings=settings)
        self.required = self.requiring(A_SESSION)
        self.security: list[dict[str, list[str]]] = [{"bearer": []}, {"cookie": []}]

    def requiring(self, requirements: Requirements) -> Guard:
        """A guard for requests whose session meets the requirements."""

        async def guard(connection: Connection, _: BaseRouteHandler) -> None:
            await self.for_request(connection).required(requirements)

        return guard

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Called by the application that the plugin is given to."""
        app_config.lifespan.append(self.lifespan)
        app_config.middleware.insert(0, cast(Middleware, self.middleware))
        app_config.dependencies.setdefault(
            "request_session", Provide(self._request_session, sync_to_thread=False)
        )
        self._describe(app_config)
        return app_config

    def _request_session(self, scope: Scope) -> RequestSession:
        return self._request_session_in(scope)

    def _describe(self, app_config: AppConfig) -> None:
        if app_config.openapi_config is None:
            return
        bearer = SecurityScheme(type="http", scheme="bearer")
        cookie = SecurityScheme(
            type="apiKey", security_scheme_in="cookie", name=self.settings.cookie.name
        )
        ours = Components(security_schemes={"bearer": bearer, "cookie": cookie})
        config = copy(app_config.openapi_config)
        told = config.components
        config.components = [*told, ours] if isinstance(told, list) else [told, ours]
        app_config.openapi_config = config
