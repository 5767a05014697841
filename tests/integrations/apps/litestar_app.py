"""The application of the conformance suite, in Litestar.

Its annotations name what is local, so they can't be left as text.
"""

import os
from collections.abc import Callable
from typing import Any

from litestar import Litestar, MediaType, Response, Router, WebSocket, get, post, websocket
from litestar.handlers import HTTPRouteHandler, WebsocketRouteHandler, route
from litestar.params import FromQuery

from sessionledger import AsyncSessionStore, Session
from sessionledger.integrations.litestar import RequestSessionDependency, Sessions
from sessionledger.integrations.litestar.devices import router
from tests.integrations.site import ADMIN, PAGE, RECENT, SCOPED, SETTINGS, SHARED

TEXT = MediaType.TEXT


def name_of(session: Session | None) -> str:
    return "nobody" if session is None else session.principal


@get("/open", media_type=TEXT)
async def opened() -> str:
    return "open"


@route(["/current"], http_method=["GET", "POST"], media_type=TEXT, status_code=200)
async def current(request_session: RequestSessionDependency) -> str:
    return name_of(await request_session.session())


@get("/shared", media_type=TEXT)
async def shared(request_session: RequestSessionDependency) -> Response[str]:
    return Response(name_of(await request_session.session()), headers=SHARED)


@post("/login", media_type=TEXT, status_code=200)
async def log_in(
    request_session: RequestSessionDependency,
    principal: FromQuery[str],
    parent: FromQuery[str | None] = None,
) -> str:
    await request_session.log_in(principal, parent=parent)
    return name_of(await request_session.session())


@route(["/logout"], http_method=["GET", "POST"], media_type=TEXT, status_code=200)
async def log_out(request_session: RequestSessionDependency) -> str:
    await request_session.log_out()
    return name_of(await request_session.session())


@post("/logout-everywhere", media_type=TEXT, status_code=200)
async def log_out_everywhere(request_session: RequestSessionDependency) -> str:
    return str(await request_session.log_out_everywhere())


@post("/change", media_type=TEXT, status_code=200)
async def change_credentials(request_session: RequestSessionDependency) -> str:
    await request_session.change_credentials()
    return name_of(await request_session.session())


@post(["/rotate", "/become"], media_type=TEXT, status_code=200)
async def rotate(
    request_session: RequestSessionDependency, principal: FromQuery[str | None] = None
) -> str:
    await request_session.rotate(principal=principal)
    return name_of(await request_session.session())


def guarded_socket(sessions: Sessions) -> WebsocketRouteHandler:
    @websocket("/socket", guards=[sessions.required])
    async def socket(
        socket: WebSocket[Any, Any, Any], request_session: RequestSessionDependency
    ) -> None:
        await socket.accept()
        await socket.send_text(name_of(await request_session.session()))
        await socket.close()

    return socket


def guarded(sessions: Sessions) -> list[HTTPRouteHandler]:
    @route(
        ["/required"],
        http_method=["GET", "POST"],
        media_type=TEXT,
        status_code=200,
        guards=[sessions.required],
        security=sessions.security,
    )
    async def required(request_session: RequestSessionDependency) -> str:
        return name_of(await request_session.session())

    @get("/scoped", media_type=TEXT, guards=[sessions.requiring(SCOPED)])
    async def scoped(request_session: RequestSessionDependency) -> str:
        return name_of(await request_session.session())

    @get("/admin", media_type=TEXT, guards=[sessions.requiring(ADMIN)])
    async def admin(request_session: RequestSessionDependency) -> str:
        return name_of(await request_session.session())

    @get("/recent", media_type=TEXT, guards=[sessions.requiring(RECENT)])
    async def recent(request_session: RequestSessionDependency) -> str:
        return name_of(await request_session.session())

    @get("/twice", media_type=TEXT)
    async def twice(request_session: RequestSessionDependency) -> str:
        first = await request_session.required()
        await sessions.store.revoke(handle=first.handle)
        second = await request_session.required()
        return f"{first.principal} {second.principal}"

    return [required, scoped, admin, recent, twice]


def make(open_store: Callable[[], AsyncSessionStore]) -> Litestar:
    sessions = Sessions(open_store, settings=SETTINGS)
    handlers: list[HTTPRouteHandler | WebsocketRouteHandler | Router] = [
        opened,
        current,
        shared,
        log_in,
        log_out,
        log_out_everywhere,
        change_credentials,
        rotate,
        *guarded(sessions),
        guarded_socket(sessions),
        router(sessions, PAGE, path="/account"),
    ]
    return Litestar(handlers, plugins=[sessions], logging_config=None)


def served() -> Litestar:
    """For a server, which gives it the ledger in a variable."""
    return make(lambda: AsyncSessionStore.open(os.environ["LEDGER"]))
