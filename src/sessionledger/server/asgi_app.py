"""The outermost application: what is answered without the framework, and what all have in common.

Every request is counted, written down if that is wanted, and answered: what nobody caught below
is a problem here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from sessionledger.server.error_handlers import log_failure
from sessionledger.server.fast_path import (
    Answer,
    Arrived,
    Endpoint,
    Prompt,
    application,
    at_once,
    caller_in,
)
from sessionledger.server.http.asgi import App, Message, Receive, Scope, Send, respond
from sessionledger.server.http.problems import MEDIA_TYPE, Refused, failed, unavailable
from sessionledger.server.observe.access_log import Noted
from sessionledger.server.service.service import Service

OTHER = "other"
ENDLESS = "/v1/events"


class Front:
    """The service as an ASGI application. failure: why it could not start, if it could not.

    routes: the framework's paths, by which its requests are counted. prompt and bare: what is
    answered without it, by path, and by all that lies below one that ends in a slash; prompt is
    what can be asked at once. noted: told of each request.
    """

    def __init__(
        self,
        service: Service,
        framework: App,
        routes: Collection[str],
        prompt: Mapping[str, Endpoint],
        bare: Mapping[str, App],
        noted: Noted,
    ) -> None:
        self.service = service
        self._framework = framework
        self._routes = routes
        self._endpoints = {path: application(one) for path, one in prompt.items()} | dict(bare)
        self._below = [path for path in self._endpoints if path[-1] == "/"]
        self._at_once = {
            path.encode("ascii"): Prompt(one, _route(path)) for path, one in prompt.items()
        }
        self._at_once_below = [url for url in self._at_once if url.endswith(b"/")]
        self._noted = noted
        self.failure: Exception | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The service's ledger is open in here: what the lifespan does under a server."""
        async with self.service.running():
            try:
                yield
            finally:
                self._noted.hand_over()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live as long as the server does."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._framework(scope, receive, send)

    def prompt(self, url: bytes) -> Prompt | None:
        """What is at a path, if it can be asked at once."""
        found = self._at_once.get(url)
        if found is None:
            for above in self._at_once_below:
                if url.startswith(above):
                    return self._at_once[above]
        return found

    def answer_at_once(self, prompt: Prompt, call: Arrived, client: str | None) -> Answer | None:
        """Its answer, if there is one at once: for a server that can send it in place. None where
        the application has to be asked."""
        begun = time.perf_counter()
        answer = at_once(prompt.endpoint, call)
        if answer is not None:
            status, caller = answer.status, call.caller
            self._noted.note(call.method, prompt.route, status, begun, client, caller)
        return answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        place = self._place(scope["path"])
        endpoint, route = self._endpoints.get(place), _route(place)
        try:
            if endpoint is None:
                await self._ask_framework(scope, receive, noting)
            else:
                await endpoint(scope, receive, noting)
        except TimeoutError:
            # Who was answered in part is hung up on: that is how the rest is known to be missing.
            if not status:
                await _answer_problem(noting, unavailable("timed_out", "that took too long"))
        except Exception as error:  # noqa: BLE001  whatever it is, a client gets an answer
            log_failure(error)
            if not status:
                await _answer_problem(noting, failed())
        finally:
            if endpoint is None:
                template = scope.get("path_template", OTHER)
                route = template if template in self._routes else OTHER
            client = (scope.get("client") or [None])[0]
            caller = caller_in(scope)
            self._noted.note(scope["method"], route, status or 500, begun, client, caller)

    def _place(self, path: str) -> str:
        """Where something is that answers at a path, or the path itself."""
        if path not in self._endpoints:
            for above in self._below:
                if path.startswith(above):
                    return above
        return path

    async def _ask_framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises `TimeoutError` for what takes too long: a client that reads nothing, say."""
        settings = self.service.settings
        patience = settings.request_timeout
        if scope["path"] == ENDLESS:
            patience += settings.stream_lifetime
        async with asyncio.timeout(patience.total_seconds()):
            await self._framework(scope, receive, send)

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


def _route(place: str) -> str:
    """What requests are counted by, to a path or to what lies below it."""
    return place.rstrip("/")


async def _answer_problem(send: Send, refused: Refused) -> None:
    """A problem from outside of the framework."""
    headers = [(name.lower().encode(), text.encode()) for name, text in refused.headers.items()]
    kind = (b"content-type", MEDIA_TYPE.encode())
    no_store = (b"cache-control", b"no-store")
    body = msgspec.json.encode(refused.problem)
    await respond(send, refused.problem.status, [kind, no_store, *headers], body)
