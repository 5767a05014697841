"""The application of the conformance suite, in Starlette."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from sessionledger import AsyncSessionStore, Session
from sessionledger.integrations import Requirements
from sessionledger.integrations.starlette import Sessions
from sessionledger.integrations.starlette.devices import routes as device_routes
from tests.integrations.site import ADMIN, PAGE, RECENT, SCOPED, SETTINGS, SHARED

Handler = Callable[[Request], Awaitable[Response]]


def name_of(session: Session | None) -> PlainTextResponse:
    return PlainTextResponse("nobody" if session is None else session.principal)


def routes(sessions: Sessions) -> list[BaseRoute]:
    async def opened(_: Request) -> Response:
        return PlainTextResponse("open")

    async def current(request: Request) -> Response:
        return name_of(await sessions.for_request(request).session())

    async def shared(request: Request) -> Response:
        return PlainTextResponse((await current(request)).body, headers=SHARED)

    async def twice(request: Request) -> Response:
        request_session = sessions.for_request(request)
        first = await request_session.required()
        await sessions.store.revoke(handle=first.handle)
        second = await request_session.required()
        return PlainTextResponse(f"{first.principal} {second.principal}")

    async def log_in(request: Request) -> Response:
        request_session = sessions.for_request(request)
        await request_session.log_in(
            request.query_params["principal"], parent=request.query_params.get("parent")
        )
        return name_of(await request_session.session())

    async def log_out(request: Request) -> Response:
        request_session = sessions.for_request(request)
        await request_session.log_out()
        return name_of(await request_session.session())

    async def log_out_everywhere(request: Request) -> Response:
        return PlainTextResponse(str(await sessions.for_request(request).log_out_everywhere()))

    async def change_credentials(request: Request) -> Response:
        request_session = sessions.for_request(request)
        await request_session.change_credentials()
        return name_of(await request_session.session())

    async def rotate(request: Request) -> Response:
        request_session = sessions.for_request(request)
        await request_session.rotate(principal=request.query_params.get("principal"))
        return name_of(await request_session.session())

    def required(requirements: Requirements) -> Handler:
        async def handler(request: Request) -> Response:
            return name_of(await sessions.for_request(request).required(requirements))

        return handler

    both = ["GET", "POST"]
    return [
        Route("/open", opened),
        Route("/current", current, methods=both),
        Route("/shared", shared),
        Route("/required", required(Requirements()), methods=both),
        Route("/scoped", required(SCOPED)),
        Route("/admin", required(ADMIN)),
        Route("/recent", required(RECENT)),
        Route("/twice", twice),
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["GET", "POST"]),
        Route("/logout-everywhere", log_out_everywhere, methods=["POST"]),
        Route("/change", change_credentials, methods=["POST"]),
        Route("/rotate", rotate, methods=["POST"]),
        Route("/become", rotate, methods=["POST"]),
        Mount("/account", routes=device_routes(sessions, PAGE)),
    ]


def make(open_store: Callable[[], AsyncSessionStore]) -> Starlette:
    sessions = Sessions(open_store, settings=SETTINGS)
    return Starlette(
        routes=routes(sessions),
        lifespan=sessions.lifespan,
        middleware=[Middleware(sessions.middleware)],
    )


def served() -> Starlette:
    """For a server, which gives it the ledger in a variable."""
    return make(lambda: AsyncSessionStore.open(os.environ["LEDGER"]))
