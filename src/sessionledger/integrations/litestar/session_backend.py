"""Litestar's server-side sessions, kept in the ledger by `LedgerSessionConfig(sessions=…)`.

It takes the place of `ServerSideSessionConfig`, also in `SessionAuth`. Litestar saves a session
with an HTTP answer only: a WebSocket sees what is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

from litestar.datastructures import Cookie, MutableScopeHeaders
from litestar.exceptions import HTTPException, ImproperlyConfiguredException
from litestar.middleware.session.base import BaseSessionBackend
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.types import Empty, Message, Scope, ScopeSession

from sessionledger.integrations.asgi import request_of
from sessionledger.integrations.litestar.extension import Connection, Sessions
from sessionledger.integrations.own_session.dictionary import SessionDict
from sessionledger.integrations.own_session.session import OwnSession, PrincipalOf
from sessionledger.integrations.own_session.values import Serializer

_OWN = "sessionledger.own_session"


class LedgerSessionBackend(BaseSessionBackend["LedgerSessionConfig"]):
    """Keeps `request.session` in the store of the plugin."""

    def get_session_id(self, connection: Connection) -> None:
        """None: the id is the token, a secret that the browser alone has."""

    async def load_from_connection(self, connection: Connection) -> dict[str, Any]:
        """The data of the session that a request came with."""
        scope, sessions = cast(dict[str, Any], connection.scope), self.config.plugin
        own = OwnSession(
            lambda: sessions.store,
            request_of(scope),
            sessions.settings,
            sessions.refuse,
            self.config.key,
            Serializer(partial(self._text, connection.scope), self.deserialize_data, "json"),
            self.config.principal,
            SessionDict(),
            renews=True,
        )
        scope[_OWN] = own
        await own.load()
        return own.data

    async def store_in_message(
        self,
        scope_session: ScopeSession,
        message: Message,
        connection: Connection,
    ) -> None:
        """Save what changed, and send the cookie."""
        own: OwnSession = cast(dict[str, Any], connection.scope)[_OWN]
        data: Any = scope_session
        if data is Empty or data is None:
            data = own.data
            data.clear()
        elif not isinstance(data, dict):  # a model of the application
            data = self.deserialize_data(self._text(connection.scope, data))
        try:
            token = await own.save(data, timedelta(seconds=self.config.max_age), resend=True)
        except HTTPException as refusal:
            await _refuse(refusal, connection)
            return
        headers = MutableScopeHeaders.from_message(message)
        if own.data.accessed:
            headers.add("Vary", "Cookie")
        if token is not None:
            headers.add("Set-Cookie", self.config.cookie(token).to_header(header=""))

    def _text(self, scope: Scope, data: Any) -> str:
        return self.serialize_data(data, scope).decode()


async def _refuse(refusal: HTTPException, connection: Connection) -> None:
    """Answer what is refused, in the place of what the handler answers."""
    send, connection.send = connection.send, _drop
    headers = [(name.encode(), text.encode()) for name, text in (refusal.headers or {}).items()]
    await send({"type": "http.response.start", "status": refusal.status_code, "headers": headers})
    body = refusal.detail.encode()
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _drop(_: Message) -> None:
    """The answer of the handler goes nowhere."""


@dataclass
class LedgerSessionConfig(ServerSideSessionConfig):
    """As `ServerSideSessionConfig`, but for `sessions`, the plugin whose store keeps the data.

    principal: who is logged in, by the data, such as `lambda data: data.get("user_id")`. Without it
    `request.session.log_in(principal)` says so.
    """

    _backend_class = LedgerSessionBackend  # type: ignore[assignment]

    sessions: Sessions | None = None
    principal: PrincipalOf | None = None

    @property
    def plugin(self) -> Sessions:
        """The plugin. Raises `ImproperlyConfiguredException` where none was given."""
        if self.sessions is None:
            raise ImproperlyConfiguredException("sessions must be the plugin")
        return self.sessions

    def cookie(self, token: str) -> Cookie:
        """The cookie for a token, or the end of the cookie."""
        return Cookie(
            self.key,
            value=token or "null",
            max_age=self.max_age if token else 0,
            path=self.path,
            domain=self.domain,
            secure=self.secure,
            httponly=self.httponly,
            samesite=self.samesite,
        )
