"""The outermost ASGI application: it finds who answers a request, and counts and logs each one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from sessionledger.server.error_handlers import log_failure, log_outage
from sessionledger.server.fast_path import (
    FAST_METHODS,
    CompleteRequest,
    Endpoint,
    as_application,
    at_once,
)
from sessionledger.server.http.asgi import (
    NO_STORE,
    ASGIApp,
    Headers,
    Message,
    PlainResponse,
    Receive,
    Scope,
    Send,
    respond,
)
from sessionledger.server.http.problems import MEDIA_TYPE, HTTPProblem, failed, unavailable
from sessionledger.server.observe.access_log import RequestRecorder
from sessionledger.server.observe.log_writer import LogWriter
from sessionledger.server.proxy.forward_auth import PATH as AUTH
from sessionledger.server.service.limits import DeferredCount, RequestCount
from sessionledger.server.service.service import CLEANUP, COUNT, PREFIX, Service

OTHER = "other"
STREAM = "/v1/events"
PROBES = ("/healthz", "/readyz")  # refusing one would cost as much, and end a service that works
UNKNOWN = "that took too long. Whether it was done is unknown: send the request again"
BELOW_AUTH = f"{AUTH}/"


class Application:
    """The service as an ASGI application. failure: why it could not start, if it could not.

    framework: answers every path that is not in endpoints or applications; routes: its paths.
    fast_prefixes: how requests begin that the fast path may answer.
    recorder: told of each request; writer: where it and the log write.

    Every request is bounded in time here, whoever answers it. How long it may take to arrive, and
    how long a client may leave its answer unread, is bounded by the protocol.
    """

    def __init__(
        self,
        service: Service,
        framework: ASGIApp,
        routes: Collection[str],
        endpoints: Mapping[str, Endpoint],
        applications: Mapping[str, ASGIApp],
        recorder: RequestRecorder,
        writer: LogWriter,
    ) -> None:
        self.service = service
        self._framework = framework
        self._routes = routes
        self._endpoints = endpoints
        self._applications = {
            path: as_application(endpoint) for path, endpoint in endpoints.items()
        } | {path: _open_to_all(application) for path, application in applications.items()}
        self.fast_prefixes = tuple(
            b"%b %b" % (method, path.encode())
            for path, endpoint in endpoints.items()
            if endpoint.is_fast
            for method in FAST_METHODS
        )
        self._recorder = recorder
        self.writer = writer
        self.failure: Exception | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The service's ledger is open in here: what the lifespan does under a server."""
        try:
            async with self.service.running():
                yield
        finally:
            self._recorder.flush()
            self.writer.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live as long as the server does."""
        if scope["type"] == "http":
            await self._respond(_without_prefix(scope), receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._framework(scope, receive, send)

    def answer_at_once(self, request: CompleteRequest, client: str | None) -> PlainResponse | None:
        """The response of a fast endpoint; None where the application has to be called."""
        begun, route = time.perf_counter(), _route_of(request.path)
        endpoint = self._endpoints.get(route)
        if endpoint is None or not endpoint.is_fast:
            return None
        count = DeferredCount(self.service.limits, client, request.headers)
        response = at_once(endpoint, request, count)
        if response is not None:
            self._recorder.record(request.method, route, response.status, begun, count)
        return response

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, status = time.perf_counter(), 0
        peer = (scope.get("client") or [None])[0]
        scope[COUNT] = count = RequestCount(self.service.limits, peer, scope["headers"])

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        route = _route_of(scope["path"])
        application = self._applications.get(route)
        counted = self._counted(route, count, watched)
        try:
            async with asyncio.timeout(self._seconds_for(scope["path"])):
                await (application or self._ask_framework)(scope, receive, counted)
        except TimeoutError:
            # A client that got a part is hung up on, which tells it that the rest is missing.
            if not status:
                log_outage("it took longer than the request timeout")
                await self._send_error(watched, route, unavailable("timed_out", UNKNOWN))
        except Exception as error:  # noqa: BLE001  every request gets a response
            log_failure(error)
            if not status:
                await self._send_error(watched, OTHER, failed())
        finally:
            if application is None:
                template = scope.get("path_template", OTHER)
                route = template if template in self._routes else OTHER
            self._recorder.record(scope["method"], route, status or 500, begun, count)

    def _counted(self, route: str, count: RequestCount, send: Send) -> Send:
        """Adds what an answer says about limits. A request that authenticated as nobody counts for
        its address now, and is refused after too many; not for our own failures."""
        is_refused = False

        async def counted(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start":
                is_told = count.is_counted or route in PROBES or message["status"] >= 500
                try:
                    if not is_told:
                        count.take_address()
                except HTTPProblem as refused:
                    is_refused = True
                    await self._send_error(send, route, refused)
                message = {**message, "headers": [*message["headers"], *count.headers]}
            if not is_refused:
                await send(message)

        return counted

    async def _ask_framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as scope[CLEANUP]:
            await self._framework(scope, receive, send)

    def _seconds_for(self, path: str) -> float:
        """How long a request may take to be answered as a whole."""
        settings = self.service.settings
        timeout = settings.request_timeout
        if path == STREAM:
            timeout += settings.stream_lifetime
        return timeout.total_seconds()

    async def _send_error(self, send: Send, route: str, error: HTTPProblem) -> None:
        """Send a problem, in the form that the endpoint at a route gives it."""
        endpoint = self._endpoints.get(route)
        await respond(send, (_problem if endpoint is None else endpoint.error_response)(error))

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            try:
                await stack.enter_async_context(self.running())
            except Exception as error:  # noqa: BLE001  `serve` raises it again
                self.failure = error
                await send({"type": "lifespan.startup.failed", "message": ""})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def _without_prefix(scope: Scope) -> Scope:
    """The scope as it is without a `root_path`, with which `path` begins. The prefix is kept."""
    prefix, path = scope.get("root_path", "").rstrip("/"), scope["path"]
    if path.startswith(f"{prefix}/"):
        path = path.removeprefix(prefix)
    return {**scope, PREFIX: prefix, "root_path": "", "path": path}


def _route_of(path: str) -> str:
    """The path under which requests are counted. A proxy may ask below `/auth`."""
    return AUTH if path.startswith(BELOW_AUTH) else path


def _open_to_all(application: ASGIApp) -> ASGIApp:
    """An application that asks for no credentials: it may be refused before it does any work."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope[COUNT].take_address()
        except HTTPProblem as refused:
            await respond(send, _problem(refused))
        else:
            await application(scope, receive, send)

    return counted


def _problem(error: HTTPProblem) -> PlainResponse:
    """A problem from outside of the framework."""
    headers = [(name.lower().encode(), text.encode()) for name, text in error.headers.items()]
    media_type = (b"content-type", MEDIA_TYPE.encode())
    body = msgspec.json.encode(error.problem)
    return PlainResponse(error.problem.status, Headers(media_type, NO_STORE, *headers), body)
