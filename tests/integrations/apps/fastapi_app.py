"""The application of the conformance suite, in FastAPI.

Its annotations name what is local, so they can't be left as text.
"""

import os
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Response, Security, WebSocket
from fastapi.responses import PlainTextResponse

from sessionledger import AsyncSessionStore, Session
from sessionledger.integrations.fastapi import RequestSession, Sessions
from sessionledger.integrations.fastapi.devices import routes
from tests.integrations.site import ADMIN, PAGE, RECENT, SETTINGS, SHARED


def name_of(session: Session | None) -> PlainTextResponse:
    """A response of its own, with which FastAPI forgets what was set on the injected one."""
    return PlainTextResponse("nobody" if session is None else session.principal)


def make(open_store: Callable[[], AsyncSessionStore]) -> FastAPI:
    sessions = Sessions(open_store, settings=SETTINGS)
    app = FastAPI(lifespan=sessions.lifespan)
    app.add_middleware(sessions.middleware)
    app.state.sessions = sessions
    read(app, sessions)
    change(app, sessions)
    app.include_router(APIRouter(routes=routes(sessions, PAGE)), prefix="/account")
    return app


def read(app: FastAPI, sessions: Sessions) -> None:
    @app.get("/open")
    async def opened() -> Response:
        return PlainTextResponse("open")

    @app.get("/current")
    @app.post("/current")
    async def current(
        session: Annotated[Session | None, Depends(sessions.current)],
    ) -> Response:
        return name_of(session)

    @app.get("/shared")
    async def shared(session: Annotated[Session | None, Depends(sessions.current)]) -> Response:
        return PlainTextResponse(name_of(session).body, headers=SHARED)

    @app.get("/required")
    @app.post("/required")
    async def required(session: Annotated[Session, Depends(sessions.required)]) -> Response:
        return name_of(session)

    @app.get("/scoped")
    async def scoped(
        session: Annotated[
            Session, Security(sessions.required, scopes=["orders:read", "orders:write"])
        ],
    ) -> Response:
        return name_of(session)

    @app.get("/admin")
    async def admin(session: Annotated[Session, Depends(sessions.requiring(ADMIN))]) -> Response:
        return name_of(session)

    @app.get("/recent")
    async def recent(session: Annotated[Session, Depends(sessions.requiring(RECENT))]) -> Response:
        return name_of(session)

    @app.websocket("/socket")
    async def socket(
        ws: WebSocket, session: Annotated[Session, Depends(sessions.required)]
    ) -> None:
        await ws.accept()
        await ws.send_text(session.principal)
        await ws.close()


def change(app: FastAPI, sessions: Sessions) -> None:
    @app.get("/twice")
    async def twice(
        first: Annotated[Session, Depends(sessions.required)],
        request_session: Annotated[RequestSession, Depends(sessions.request_session)],
    ) -> Response:
        await sessions.store.revoke(handle=first.handle)
        second = await request_session.required()
        return PlainTextResponse(f"{first.principal} {second.principal}")

    @app.post("/login")
    async def log_in(
        principal: str,
        request_session: Annotated[RequestSession, Depends(sessions.request_session)],
        parent: str | None = None,
    ) -> Response:
        await request_session.log_in(principal, parent=parent)
        return name_of(await request_session.session())

    @app.get("/logout")
    @app.post("/logout")
    async def log_out(
        request_session: Annotated[RequestSession, Depends(sessions.request_session)],
    ) -> Response:
        await request_session.log_out()
        return name_of(await request_session.session())

    @app.post("/logout-everywhere")
    async def log_out_everywhere(
        request_session: Annotated[RequestSession, Depends(sessions.request_session)],
    ) -> Response:
        ended = await request_session.log_out_everywhere()
        return PlainTextResponse(str(ended))

    @app.post("/change")
    async def change_credentials(
        request_session: Annotated[RequestSession, Depends(sessions.request_session)],
    ) -> Response:
        await request_session.change_credentials()
        return name_of(await request_session.session())

    @app.post("/rotate")
    @app.post("/become")
    async def rotate(
        request_session: Annotated[RequestSession, Depends(sessions.request_session)],
        principal: str | None = None,
    ) -> Response:
        await request_session.rotate(principal=principal)
        return name_of(await request_session.session())


def served() -> FastAPI:
    """For a server, which gives it the ledger in a variable."""
    return make(lambda: AsyncSessionStore.open(os.environ["LEDGER"]))
