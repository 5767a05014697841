"""Litestar's server-side sessions, kept in the ledger by `LedgerSessionConfig(sessions=…)`.

It takes the place of `ServerSideSessionConfig`, also in `SessionAuth`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from litestar.datastructures import Cookie
from litestar.exceptions import ImproperlyConfiguredException
from litestar.middleware.base import DefineMiddleware
from litestar.middleware.session.base import SessionMiddleware
from litestar.middleware.session.server_side import (
    ServerSideSessionBackend,
    ServerSideSessionConfig,
)
from litestar.types import ASGIApp, Empty, Receive, Scope, Send

from sessionledger.integrations.litestar.extension import Sessions
from sessionledger.integrations.own_session.asgi_session import AsgiOwnSession
from sessionledger.integrations.own_session.session import PrincipalOf
from sessionledger.integrations.own_session.values import Serializer
from sessionledger.secrecy import without_locals


class LedgerSessionMiddleware(SessionMiddleware[ServerSideSessionBackend]):
    """Keeps `request.session` in the ledger, but for what the configuration excludes."""

    def __init__(self, app: ASGIApp, backend: ServerSideSessionBackend) -> None:
        super().__init__(app, backend)
        self._own = cast(LedgerSessionConfig, backend.config).own

    @without_locals
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        dumps, loads = self.backend.serialize_data, self.backend.deserialize_data
        serializer = Serializer(lambda data: dumps(data, scope).decode(), loads, "json")

        def model(data: Any) -> dict[str, Any]:
            return {} if data is Empty or data is None else loads(dumps(data, scope))

        run: Any = self._own.run  # which knows the types of any framework
        await run(self.app, scope, receive, send, serializer, model)


@dataclass
class LedgerSessionConfig(ServerSideSessionConfig):
    """As `ServerSideSessionConfig`, but for `sessions`, the plugin whose store keeps the data.

    principal: who is logged in, by the data, such as `lambda data: data.get("user_id")`. Without it
    `request.session.log_in(principal)` says so.
    """

    sessions: Sessions | None = None
    principal: PrincipalOf | None = None

    @property
    def middleware(self) -> DefineMiddleware:
        """For the `middleware` of an application."""
        return DefineMiddleware(LedgerSessionMiddleware, backend=self._backend_class(config=self))

    @property
    def own(self) -> AsgiOwnSession:
        """How the sessions are kept. Raises `ImproperlyConfiguredException` without a plugin."""
        if self.sessions is None:
            raise ImproperlyConfiguredException("sessions must be the plugin")
        ttl = timedelta(seconds=self.max_age)
        return AsgiOwnSession(self.sessions, self.key, ttl, True, self.principal, self._set_cookie)

    def _set_cookie(self, token: str) -> str:
        names = ("path", "domain", "secure", "httponly", "samesite")
        options: Any = {name: getattr(self, name) for name in names}
        options |= {"value": token or "null", "max_age": self.max_age if token else 0}
        return Cookie(self.key, **options).to_header(header="")
