"""The outermost application: what is answered without the framework, and what all have in common.

Every request is counted, written down if that is wanted, and answered: what nobody caught below
is a problem here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import msgspec

from sessionledger.server.access_log import Write, log_request
from sessionledger.server.asgi import App, Message, Receive, Scope, Send, respond
from sessionledger.server.forward_auth import PATH, ForwardAuth
from sessionledger.server.problems import MEDIA_TYPE, Refused, failed, unavailable
from sessionledger.server.refusals import log_failure
from sessionledger.server.service import Service

OTHER = "other"
ENDLESS = "/v1/events"


class Front:
    """The service as an ASGI application. failure: why it could not start, if it could not.

    routes: the framework's paths, by which its requests are counted. endpoints: what is answered
    without it, by path, and by all that lies below one that ends in a slash.
    """

    def __init__(
        self,
        service: Service,
        framework: App,
        routes: Collection[str],
        endpoints: Mapping[str, App],
        write: Write | None,
    ) -> None:
        self.service = service
        self._framework = framework
        self._routes = routes
        self._endpoints = {path: one for path, one in endpoints.items() if path[-1] != "/"}
        self._below = [(path, one) for path, one in endpoints.items() if path[-1] == "/"]
        self._write = write
        self._auth = ForwardAuth(service)
        self.failure: Exception | None = None

    def running(self) -> AbstractAsyncContextManager[None]:
        """The service's ledger is open in here: what the lifespan does under a server."""
        return self.service.running()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live as long as the server does."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._framework(scope, receive, send)

    def pass_at_once(self, scope: Scope) -> bytes | None:
        """The head of the answer to `GET /auth` where the request passes and all is known: for a
        server that can send it in place. None where the application has to be asked."""
        begun = time.perf_counter()
        head = self._auth.at_once(scope["headers"])
        if head is not None:
            self._note(scope, PATH, 200, time.perf_counter() - begun)
        return head

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        route, endpoint = self._find(scope["path"])
        try:
            if endpoint is None:
                await self._ask_framework(scope, receive, noting)
            else:
                await endpoint(scope, receive, noting)
        except Exception as error:  # noqa: BLE001  whatever it is, a client gets an answer
            log_failure(error)
            if not status:
                await _answer_problem(noting, failed())
        finally:
            if endpoint is None:
                template = scope.get("path_template", OTHER)
                route = template if template in self._routes else OTHER
            self._note(scope, route, status or 500, time.perf_counter() - begun)

    def _find(self, path: str) -> tuple[str, App | None]:
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            for above, below in self._below:
                if path.startswith(above):
                    return above[:-1], below
        return path, endpoint

    async def _ask_framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        patience = self.service.settings.request_timeout.total_seconds()
        try:
            async with asyncio.timeout(None if scope["path"] == ENDLESS else patience):
                await self._framework(scope, receive, send)
        except TimeoutError:
            await _answer_problem(send, unavailable("timed_out", "that took too long"))

    def _note(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        self.service.tally.observe(route, status, seconds)
        if self._write is not None:
            log_request(self._write, scope, route, status, seconds)

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            try:
                await stack.enter_async_context(self.running())
            except Exception as error:  # noqa: BLE001  whoever serves tells of it
                self.failure = error
                await send({"type": "lifespan.startup.failed", "message": ""})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def _answer_problem(send: Send, refused: Refused) -> None:
    """A problem from outside of the framework."""
    headers = [(name.lower().encode(), text.encode()) for name, text in refused.headers.items()]
    kind = (b"content-type", MEDIA_TYPE.encode())
    no_store = (b"cache-control", b"no-store")
    body = msgspec.json.encode(refused.problem)
    await respond(send, refused.problem.status, [kind, no_store, *headers], body)
