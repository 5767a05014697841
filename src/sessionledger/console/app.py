"""The console as an ASGI application: its pages, its headers, and what it answers to errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect, Template
from litestar.static_files import create_static_files_router
from litestar.template import TemplateConfig

from sessionledger import AsyncSessionStore, SessionLedgerError, Stats
from sessionledger.console.access import LOG_IN_POLICY, OPEN, authorise, console_sessions, needs
from sessionledger.console.jobs import Jobs
from sessionledger.console.pages import environment, zone_of
from sessionledger.console.screens import (
    account,
    feed,
    incident,
    integrity,
    keys,
    overview,
    principal,
    session,
    sessions,
    webhooks,
)
from sessionledger.console.views import view_of
from sessionledger.server.error_handlers import log_failure
from sessionledger.server.http.asgi import (
    ASGIApp,
    Headers,
    Message,
    PlainResponse,
    Receive,
    Scope,
    Send,
    respond,
)
from sessionledger.server.http.problems import HTTPProblem, ledger_problem
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.service.ledger import Ledger
from sessionledger.server.service.limits import LIMITS, RequestLimits, StreamLimit
from sessionledger.server.service.service import STATS_SECONDS, Recent
from sessionledger.server.service.shared_counts import SharedCounts
from sessionledger.server.settings import KEYS_TOPIC, Settings

SCREENS = (
    account,
    overview,
    sessions,
    session,
    principal,
    incident,
    keys,
    webhooks,
    integrity,
    feed,
)
MAX_STREAMS = 16
SETS_OF_COUNTS = 256
NO_SERVER_ERROR = 500

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Not `no-referrer`: with it a browser would hide the origin of a form.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_SENT = tuple((name.lower().encode(), value.encode()) for name, value in HEADERS.items())
_NAMES = {name for name, _ in _SENT}
_UNKNOWN_HOST = PlainResponse(
    421,
    Headers((b"content-type", b"text/plain; charset=utf-8"), *_SENT),
    b"This console is not known by that name. console_hosts names the hosts that browsers use.\n",
)


class Console:
    """What the requests of a console share, while it runs.

    log_ins: the plugin with the sessions of its browsers. metrics: of the service, where the
    console runs beside it.
    """

    def __init__(
        self,
        settings: Settings,
        open_ledger: Callable[[], AbstractAsyncContextManager[Ledger]],
        cookie: str,
        metrics: RequestMetrics | None = None,
    ) -> None:
        self.settings = settings
        self._metrics = metrics
        self._open_ledger = open_ledger
        self._ledger: Ledger | None = None
        self.jobs = Jobs()
        self.limits = RequestLimits(
            settings, SharedCounts(len(LIMITS), sets=SETS_OF_COUNTS), lambda _: None
        )
        self.log_ins = console_sessions(self._log_ins, cookie, self.limits.addresses)
        self.streams = StreamLimit(MAX_STREAMS, lambda _: None)
        self.stopping = asyncio.Event()
        self._stats = Recent(lambda: self.ledger.sessions.stats(), STATS_SECONDS)

    async def stats(self) -> Stats | None:
        """How much there is, or was less than a minute ago; None while it is counted."""
        return await self._stats.answer()

    def refusals(self) -> int | None:
        """How many requests the service's limits have refused; None where no service runs here."""
        return None if self._metrics is None else self._metrics.limited()

    @property
    def ledger(self) -> Ledger:
        """The stores, while the console runs."""
        assert self._ledger is not None
        return self._ledger

    def _log_ins(self) -> AsyncSessionStore:
        return AsyncSessionStore(self.ledger.log, policy=LOG_IN_POLICY, topic=KEYS_TOPIC)

    @asynccontextmanager
    async def running(self, _: object = None) -> AsyncIterator[None]:
        """The ledger is open in here."""
        async with self._open_ledger() as self._ledger:
            try:
                yield
            finally:
                await self.jobs.stop()


class Application:
    """The console as an ASGI application. service: what the protocol reads its limits from.

    Every answer has the headers. A request for a host that is not this console's is refused: its
    name was bound to this address by somebody else (DNS rebinding).
    """

    def __init__(self, console: Console, hosts: Collection[str]) -> None:
        self.service = console
        self._hosts = {host.lower().encode() for host in hosts}
        self._framework = _framework(console)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._framework(scope, receive, send)
            return
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            await respond(send, _UNKNOWN_HOST)
            return
        await self._framework(scope, receive, _with_headers(send))


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [one for one in message.get("headers", []) if one[0].lower() not in _NAMES]
            message["headers"] = [*own, *_SENT]
        await send(message)

    return sending


def _framework(console: Console) -> ASGIApp:
    static = create_static_files_router(
        path="/static", directories=[Path(str(files(__package__))) / "static"], opt=needs(OPEN)
    )
    framework = Litestar(
        route_handlers=[*(route for screen in SCREENS for route in screen.ROUTES), static],
        guards=[authorise],
        dependencies={"view": Provide(view_of)},
        plugins=[console.log_ins],
        lifespan=[console.running],
        exception_handlers={Exception: _failed, HTTPException: _failed},
        request_max_body_size=console.settings.max_body_bytes,
        template_config=TemplateConfig(
            instance=JinjaTemplateEngine.from_environment(environment())
        ),
        openapi_config=None,
        logging_config=None,
        state=State({"console": console}),
    )
    return cast(ASGIApp, framework)


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """The page that says why a request was not carried out."""
    status, told = _said(error)
    is_logged_out = isinstance(error, NotAuthorizedException)
    if is_logged_out and request.method == "GET":
        return Redirect(account.LOG_IN, status_code=303)
    if is_logged_out:
        told = "You are logged out, and nothing was done. Log in, and repeat it."
    context = {
        "zone": zone_of(request.cookies),
        "title": HTTPStatus(status).phrase,
        "told": told,
    }
    return Template("error.html", context=context, status_code=status)


def _said(error: Exception) -> tuple[int, str]:
    match error:
        case SessionLedgerError():
            # The operator keeps the ledger: what the library says is for them.
            return ledger_problem(error).problem.status, str(error)
        case HTTPProblem():
            return error.problem.status, error.problem.detail
        case HTTPException() if error.status_code < NO_SERVER_ERROR:
            return error.status_code, error.detail
        case ValueError():
            return 400, str(error)
    log_failure(error)
    return 500, "The console failed. Its log says more."
