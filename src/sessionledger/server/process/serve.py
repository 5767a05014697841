"""The service as a process, or several: sockets, signals, and a stop that loses nothing."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import uvicorn

from sessionledger.server.app import LABELS, create_app, logout_receiver
from sessionledger.server.asgi_app import Application
from sessionledger.server.observe.log_writer import LogHandler
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.process.workers import reaped, supervise
from sessionledger.server.service.service import Service
from sessionledger.server.settings import Settings

BACKLOG = 2048
UVICORN_FROM, UVICORN_BELOW = (0, 53), (0, 55)
"""The versions that were tested, as in pyproject.toml."""
STOPS = (signal.SIGINT, signal.SIGTERM)
CLOSE_SECONDS = 5.0
"""How long the ledger may take to close. One that stands still would keep the process for ever."""
HANDSHAKE_SECONDS = 0.1
"""How long a client that began to connect before a stop may take to do so."""
_SO_ATTACH_FILTER = 26
# Reads the flags of a TCP segment, drops it if it begins a connection, and passes it otherwise.
_NO_SYN = struct.pack("HBBI" * 4, 0x30, 0, 0, 13, 0x45, 0, 1, 2, 6, 0, 0, 0, 6, 0, 0, 0xFFFFFFFF)

_LOG = logging.getLogger("sessionledger.server")


class UntestedUvicorn(RuntimeError):
    """The installed uvicorn is outside the range that was tested."""


class CannotListen(OSError):
    """The address can't be bound: another program listens there, say."""


class Beside(Protocol):
    """What one worker serves besides, on a socket of its own."""

    def bind(self) -> None:
        """Listen, before workers are forked. Raises `CannotListen`."""

    def server(self, service: Service) -> uvicorn.Server:
        """The server, in the worker whose service is this. It leaves signals to the service's."""


def serve(settings: Settings, ready: Callable[[str], None], beside: Beside | None = None) -> int:
    """Serve until a signal says to stop, and answer the exit code.

    ready: told the address once, when requests are answered there. Raises `CannotListen`,
    `UntestedUvicorn`, and what opening the ledger raises.
    """
    check_uvicorn(uvicorn.__version__)
    logout_receiver(settings)  # what is wrong with the provider is said before anything listens
    listening = bind(settings.host, settings.port, "--host and --port choose another address")
    if beside is not None:
        beside.bind()
    _allow_open_files()
    metrics = RequestMetrics(LABELS, settings.workers)
    first = _first_of_all(lambda: ready(address_of(listening)))

    def work(number: int, lifeline: int | None, is_replacement: bool = False) -> int:
        metrics.count_as(number)
        application = create_app(settings, metrics)
        logging.basicConfig(format="%(message)s", handlers=[LogHandler(application.writer)])
        if is_replacement:
            _LOG.error("worker %d ended by itself, and was replaced", number)
        other = beside.server(application.service) if beside and number == 0 else None
        return _work(application, listening, lifeline, first, other)

    if settings.workers == 1:
        return work(0, None)

    def stop_listening() -> None:
        _refuse_connections(listening)
        listening.close()

    return supervise(settings.workers, work, stop_listening)


def check_uvicorn(version: str) -> None:
    """Raises `UntestedUvicorn`."""
    major, minor = version.split(".")[:2]
    if not UVICORN_FROM <= (int(major), int(minor)) < UVICORN_BELOW:
        first, below = (".".join(map(str, bound)) for bound in (UVICORN_FROM, UVICORN_BELOW))
        raise UntestedUvicorn(
            f"uvicorn {version} is installed, and only versions from {first} to below {below} were "
            f"tested: pip install 'uvicorn>={first},<{below}'"
        )


def _allow_open_files() -> None:
    """Allow as many connections as the system does: the usual limit is made for `select`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def bind(host: str, port: int, remedy: str) -> socket.socket:
    """A socket that listens. remedy: what to do where it can't. Raises `CannotListen`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        # Python repeats the address in parentheses.
        problem = str(error.strerror).partition(" (while")[0]
        raise CannotListen(f"can't listen at {host}:{port}: {problem}; {remedy}") from error


def _refuse_connections(listening: socket.socket) -> None:
    """Let nobody connect from now on, for all processes that share the socket (Linux only).

    To close the socket instead would reset the connections that wait to be accepted.
    """
    program = ctypes.create_string_buffer(_NO_SYN)
    with suppress(OSError):
        option = struct.pack("HP", len(_NO_SYN) // 8, ctypes.addressof(program))
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def address_of(listening: socket.socket) -> str:
    """The URL of what listens there."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _first_of_all(tell: Callable[[], None]) -> Callable[[], None]:
    """What tells only where it is called first, in whichever of the processes that are forked."""
    ticket, ours = os.pipe()
    os.write(ours, b"1")
    os.close(ours)

    def tell_once() -> None:
        if os.read(ticket, 1):
            tell()

    return tell_once


def _work(
    application: Application,
    listening: socket.socket,
    lifeline: int | None,
    ready: Callable[[], None],
    beside: uvicorn.Server | None,
) -> int:
    server = _Server(_config(application), application, lifeline, ready, beside)
    try:
        server.run([listening])
    except SystemExit:
        if application.failure is None:
            raise
        raise application.failure from None
    finally:
        server.deadline.cancel()
    return 0


def _config(application: Application) -> uvicorn.Config:
    # Only now: another version may lack what this module imports.
    from sessionledger.server.process.protocol import FastProtocol

    settings = application.service.settings
    return uvicorn.Config(
        application,
        loop="uvloop",
        http=FastProtocol,
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        log_level="error",  # what clients send amiss stands in the access log, if anywhere
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=max(1, round(settings.keep_alive.total_seconds())),
        timeout_graceful_shutdown=max(1, round(settings.stop_timeout.total_seconds())),
    )


class _Server(uvicorn.Server):
    """A server that ends streams before it waits for what is under way.

    lifeline: a pipe that is closed when the process that started this one is gone. ready: called
    once requests are answered. beside: another server, which runs as long.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        application: Application,
        lifeline: int | None,
        ready: Callable[[], None],
        beside: uvicorn.Server | None,
    ) -> None:
        super().__init__(config)
        self._beside = beside
        self._running: asyncio.Task[None] | None = None
        self._application = application
        self._lifeline = lifeline
        self._ready = ready
        settings = application.service.settings
        seconds = settings.stop_timeout.total_seconds() + CLOSE_SECONDS
        self.deadline = threading.Timer(seconds, self._give_up)
        self.deadline.daemon = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """The ledger is opened first, and where that fails nobody is told to come."""
        await super().startup(sockets)
        if self.started:
            if self._beside is not None:
                self._running = asyncio.create_task(self._beside.serve())
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal stops it, and stopping is a good end: it is not raised again."""
        loop = asyncio.get_running_loop()
        for number in STOPS:
            loop.add_signal_handler(number, self._stop)
        # The loop keeps this signal to itself.
        before = signal.signal(signal.SIGCHLD, lambda *_: [*reaped()])
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._orphaned)
        try:
            yield
        finally:
            # Whoever started the service has children of its own.
            signal.signal(signal.SIGCHLD, before)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams end. Who has connected is answered, then the ledger is closed."""
        self._application.service.stop()
        if self._beside is not None and self._running is not None:
            self._beside.should_exit = True
            await self._running
        for listening in sockets or ():
            if self._lifeline is None:  # otherwise the other workers may go on
                _refuse_connections(listening)
            await asyncio.sleep(HANDSHAKE_SECONDS)
            while select.select([listening], [], [], 0)[0]:  # noqa: ASYNC110  the loop accepts
                await asyncio.sleep(0)
        await super().shutdown(sockets)

    def _stop(self) -> None:
        if not self.should_exit:
            self.deadline.start()
        self.should_exit = True

    def _give_up(self) -> None:
        _LOG.error("the ledger does not answer: stopped without closing it")
        logging.shutdown()
        os._exit(1)

    def _orphaned(self) -> None:
        assert self._lifeline is not None
        asyncio.get_running_loop().remove_reader(self._lifeline)
        os.close(self._lifeline)
        self._lifeline = None
        self._stop()
