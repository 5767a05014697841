"""Who uses the console: an admin key is exchanged for a session of the browser's own.

1. That session is a child of the key, in the topic of keys. So it has the key's scopes at most, and
   ends with the key.
2. It has a principal of its own. So one key logs in to several browsers, and its name stays unique.
3. The key is kept nowhere. A session that was not begun here, the key's own included, is nobody.
4. A form is taken from the console's own pages alone. The browser says so, and the form carries a
   secret that is derived from the cookie.
"""

from __future__ import annotations

from datetime import timedelta
from hmac import compare_digest, digest
from secrets import token_hex
from typing import Any, TypeAlias

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler

from sessionledger import AsyncSessionStore, Policy, Session
from sessionledger.integrations.asgi import request_of
from sessionledger.integrations.litestar import Sessions
from sessionledger.integrations.litestar.extension import refused
from sessionledger.integrations.request import Request as PlainRequest
from sessionledger.integrations.request import user_agent_and_address
from sessionledger.integrations.settings import Cookie
from sessionledger.integrations.settings import Settings as SessionSettings
from sessionledger.secrecy import without_locals
from sessionledger.server.http.client_address import ClientAddresses
from sessionledger.server.service.keys import KEY_POLICY, Key, authenticate_key
from sessionledger.web.credentials import cookie_token
from sessionledger.web.cross_site import CROSS_SITE, SAFE_METHODS

LOG_IN_POLICY = Policy(
    idle_timeout=timedelta(minutes=15),
    absolute_timeout=timedelta(hours=8),
    max_child_depth=KEY_POLICY.max_child_depth,
)
"""Every key may log in as often as a session may have children."""

OPEN = ""
"""What a page needs that is there for everybody."""
ANY = "any"
"""What a page needs that is there for every key."""
_MARK = " console "
_FORM = b"sessionledger console form"

Connection: TypeAlias = ASGIConnection[Any, Any, Any, Any]
HandlerRequest: TypeAlias = Request[Any, Any, Any]


def needs(scope: str) -> dict[str, Any]:
    """The `opt` of a route: the scope that the key needs, `ANY`, or `OPEN`."""
    return {"needs": scope}


def console_sessions(open_store: Any, cookie: str, addresses: ClientAddresses) -> Sessions:
    """The log ins of the console, as a plugin."""

    def context(request: PlainRequest) -> dict[str, str]:
        client = addresses.client_of(request.address, request.headers)
        return dict(user_agent_and_address(PlainRequest("", request.headers, client)))

    settings = SessionSettings(
        cookie=Cookie(name=cookie, same_site="Strict"), realm="console", context=context
    )
    return Sessions(open_store, settings=settings)


def operator_of(session: Session) -> Key | None:
    """The key that a log in was made with; None for a session that is no log in."""
    if not session.ancestors:
        return None
    key = session.ancestors[0]
    scope = session.attributes.get("scope")
    if not isinstance(scope, str) or not session.principal.startswith(f"{key.principal}{_MARK}"):
        return None
    return Key(key.principal, key.family, frozenset(scope.split()))


async def authorise(connection: Connection, handler: BaseRouteHandler) -> None:
    """Let a request in, or raise the framework's exception."""
    sessions: Sessions = connection.app.state.console.log_ins
    if connection.scope.get("method") not in SAFE_METHODS and not is_own_form(connection):
        raise refused(CROSS_SITE)
    needed = handler.opt["needs"]
    if needed == OPEN:
        return
    session = await sessions.for_request(connection).required()
    operator = operator_of(session)
    if operator is None:
        raise NotAuthorizedException
    if needed not in {ANY, *operator.scopes}:
        raise PermissionDeniedException(f"The key {operator.name} has no scope {needed}.")
    connection.state.operator, connection.state.log_in = operator, session


def is_own_form(connection: Connection) -> bool:
    """Whether the browser says that a page of the console sent this request."""
    sessions: Sessions = connection.app.state.console.log_ins
    return sessions.settings.is_from_own_page(request_of(dict(connection.scope)))


def form_secret(connection: Connection) -> str:
    """What the forms of a log in carry. It can't be told without the cookie."""
    cookie = connection.app.state.console.log_ins.settings.cookie.name
    token = cookie_token(connection.scope["headers"], cookie) or ""
    return digest(token.encode(), _FORM, "sha256").hex()


def check_form(connection: Connection, form: dict[str, str]) -> None:
    """Raises `PermissionDeniedException` for a form that lacks the secret of this log in."""
    if not compare_digest(form.get("csrf", "").encode(), form_secret(connection).encode()):
        raise PermissionDeniedException(
            "This form belongs to another log in. Open the page again, and repeat what you did."
        )


@without_locals
async def log_in(request: HandlerRequest, keys: AsyncSessionStore, presented: str) -> bool:
    """Exchange a key for a log in of this browser. False for what is no live key."""
    key = await authenticate_key(keys, presented)
    if key is None:
        return False
    sessions: Sessions = request.app.state.console.log_ins
    await sessions.for_request(request).log_in(
        f"{key.name}{_MARK}{token_hex(8)}",
        parent=key.handle,
        attributes={"scope": " ".join(sorted(key.scopes))},
        reason="logged in to the console",
        actor=key.name,
    )
    return True
