"""Starlette: a middleware that every request passes, and an authentication backend.

A handler asks its visit:

    sessions = Sessions(lambda: AsyncSessionStore.open("sqlite:///sessions.db"))
    app = Starlette(
        routes=routes, lifespan=sessions.lifespan, middleware=[Middleware(sessions.middleware)]
    )


    async def account(request: Request) -> Response:
        session = await sessions.visit(request).required()
        return PlainTextResponse(session.principal)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sessionledger import AsyncSessionStore, Session, StoreClosed
from sessionledger.integrations import asgi
from sessionledger.integrations.extras import missing
from sessionledger.integrations.settings import Settings
from sessionledger.integrations.visit import Visit
from sessionledger.web.challenges import Denied
from sessionledger.web.claims import scope_of

try:
    from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser
    from starlette.exceptions import HTTPException
    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp, Receive, Scope, Send
except ModuleNotFoundError as error:
    raise missing("starlette") from error

__all__ = ["SessionBackend", "SessionUser", "Sessions"]


def refused(denied: Denied) -> HTTPException:
    """What is denied, as the framework's exception."""
    return HTTPException(denied.status, denied.detail, denied.headers)


class Sessions:
    """The sessions of an application: its store, while it runs, and the visits of its requests.

    open_store: makes the store, each time that the application starts.
    """

    def __init__(
        self, open_store: Callable[[], AsyncSessionStore], *, settings: Settings | None = None
    ) -> None:
        self.settings = Settings() if settings is None else settings
        self._open_store = open_store
        self._store: AsyncSessionStore | None = None
        self._key = f"sessionledger.{self.settings.cookie.name}"

    @property
    def store(self) -> AsyncSessionStore:
        """The store. Raises `StoreClosed` before the application has started."""
        if self._store is None:
            raise StoreClosed("the store is open while the application's lifespan lasts")
        return self._store

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:  # noqa: ARG002
        """The store is open in here: the application's lifespan, or a part of it."""
        async with self._open_store() as self._store:
            try:
                yield
            finally:
                self._store = None

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """What has each request visit, and sends the cookie that it was given."""

        async def visiting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] not in ("http", "websocket"):
                await app(scope, receive, send)
                return
            request = asgi.request_of(scope)
            visit = Visit(self.store, request, self.settings, refused)
            scope[self._key] = visit
            await app(scope, receive, asgi.with_cookie(send, visit))

        return visiting

    def visit(self, connection: HTTPConnection) -> Visit:
        """What a request may do with its session. Raises `RuntimeError` without the middleware."""
        visit = connection.scope.get(self._key)
        if not isinstance(visit, Visit):
            raise RuntimeError("the application lacks the middleware of its Sessions")  # noqa: TRY004
        return visit


class SessionUser(BaseUser):
    """Who is logged in, as `request.user`."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def is_authenticated(self) -> bool:
        """There is a session."""
        return True

    @property
    def display_name(self) -> str:
        """The principal."""
        return self.session.principal

    @property
    def identity(self) -> str:
        """The principal."""
        return self.session.principal


class SessionBackend(AuthenticationBackend):
    """For `AuthenticationMiddleware`, which stands within that of the sessions. It asks for every
    request. Scopes are `authenticated` and those of the session, for `@requires`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        """Who is there; None for nobody, whatever a client sent."""
        session = await self._sessions.visit(conn).session()
        if session is None:
            return None
        scopes = (scope_of(session) or "").split()
        return AuthCredentials(["authenticated", *scopes]), SessionUser(session)
