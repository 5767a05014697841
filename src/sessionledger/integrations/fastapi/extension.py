"""Dependencies, which the OpenAPI document shows as security schemes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from sessionledger.integrations.extras import missing

try:
    from fastapi import Security
    from fastapi.openapi.models import APIKey, HTTPBearer
    from fastapi.openapi.models import SecurityBase as Model
    from fastapi.requests import HTTPConnection
    from fastapi.security import SecurityScopes
    from fastapi.security.base import SecurityBase
except ModuleNotFoundError as error:
    raise missing("fastapi") from error

from sessionledger import AsyncSessionStore, Session
from sessionledger.integrations.asgi import AsgiSessions
from sessionledger.integrations.request_session import RequestSession
from sessionledger.integrations.requirements import A_SESSION, Requirements
from sessionledger.integrations.settings import Settings
from sessionledger.integrations.starlette.extension import refused

Dependency: TypeAlias = Callable[..., Awaitable[Any]]


class Scheme(SecurityBase):
    """What the OpenAPI document says of a place that tokens are taken from. It takes none itself,
    so it does for WebSockets, too."""

    def __init__(self, name: str, model: Model) -> None:
        self.scheme_name = name
        self.model = model

    async def __call__(self) -> None:
        """Nothing."""


class Sessions(AsgiSessions):
    """The sessions of an application, and its dependencies, for `Annotated[…, Depends(…)]`.

    current: the `Session | None` of the request. required: the session; 401 without. Scopes that
    `Security(required, scopes=[…])` names have to be there; 403 without.
    """

    refuse = staticmethod(refused)
    current: Dependency
    required: Dependency

    def __init__(
        self, open_store: Callable[[], AsyncSessionStore], *, settings: Settings | None = None
    ) -> None:
        super().__init__(open_store, settings=settings)
        cookie = APIKey.model_validate({"in": "cookie", "name": self.settings.cookie.name})
        self._schemes = (Scheme("bearer", HTTPBearer()), Scheme("cookie", cookie))
        self.current = self._asking()
        self.required = self.requiring(A_SESSION)

    def requiring(self, requirements: Requirements) -> Dependency:
        """The dependency `required`, for a session that meets the requirements."""
        bearer, cookie = self._schemes

        async def required(
            connection: HTTPConnection,
            scopes: SecurityScopes,
            _bearer: None = Security(bearer),
            _cookie: None = Security(cookie),
        ) -> Session:
            return await self.for_request(connection).required(
                requirements.and_scopes(scopes.scopes)
            )

        return required

    def _asking(self) -> Dependency:
        bearer, cookie = self._schemes

        async def current(
            connection: HTTPConnection,
            _bearer: None = Security(bearer),
            _cookie: None = Security(cookie),
        ) -> Session | None:
            return await self.for_request(connection).session()

        return current

    async def request_session(self, connection: HTTPConnection) -> RequestSession:
        """A dependency: the request session, to log in, log out and rotate."""
        return self.for_request(connection)
