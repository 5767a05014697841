"""The middleware that every request passes, and an authentication backend."""

from __future__ import annotations

from sessionledger import Session
from sessionledger.integrations.asgi import AsgiSessions
from sessionledger.integrations.extras import missing
from sessionledger.web.challenges import Denied
from sessionledger.web.claims import scope_of

try:
    from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
    from starlette.exceptions import HTTPException
    from starlette.requests import HTTPConnection
except ModuleNotFoundError as error:
    raise missing("starlette") from error


def refused(denied: Denied) -> HTTPException:
    """What is denied, as the framework's exception."""
    return HTTPException(denied.status, denied.detail, denied.headers)


class Sessions(AsgiSessions):
    """The sessions of an application: `lifespan` is for its lifespan, `middleware` one of its
    middlewares, and `for_request(request)` the request session."""

    refuse = staticmethod(refused)


class SessionUser(SimpleUser):
    """Who is logged in, as `request.user`. `display_name` and `identity` are the principal."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.principal)
        self.session = session

    identity = SimpleUser.display_name


class SessionBackend(AuthenticationBackend):
    """For `AuthenticationMiddleware`, which stands within that of the sessions. It asks for every
    request. Scopes are `authenticated` and those of the session, for `@requires`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def authenticate(
        self, conn: HTTPConnection
    ) -> tuple[AuthCredentials, SessionUser] | None:
        """Who is logged in; None for nobody, whatever a client sent."""
        session = await self._sessions.for_request(conn).session()
        if session is None or session.is_anonymous:
            return None
        scopes = (scope_of(session) or "").split()
        return AuthCredentials(["authenticated", *scopes]), SessionUser(session)
