"""The console's own listener: a socket, the names it is known by, and the server on it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial

import uvicorn

from sessionledger.console.app import Application, Console
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.process.serve import STOPS, address_of, bind, check_uvicorn
from sessionledger.server.service.ledger import Ledger, open_stores
from sessionledger.server.service.service import Service
from sessionledger.server.settings import Settings, split_address

STOP_SECONDS = 3
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Listener:
    """A console on a socket of its own. It may be bound before the process forks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket: socket.socket | None = None

    def bind(self) -> None:
        """Listen. Raises `CannotListen`."""
        check_uvicorn(uvicorn.__version__)
        host, port = split_address(self._settings.console_address)
        self._socket = bind(host, port, "--console-address chooses another address")

    @property
    def socket(self) -> socket.socket:
        """The socket, once it is bound."""
        assert self._socket is not None
        return self._socket

    @property
    def url(self) -> str:
        """Where it listens."""
        return address_of(self.socket)

    def server(self, service: Service) -> uvicorn.Server:
        """The server beside a service, on the stores of that."""

        @asynccontextmanager
        async def shared() -> AsyncIterator[Ledger]:
            yield service.ledger

        console = self._console(shared, service.metrics)
        return _Server(console, self._application, self.socket)

    def run(self, ready: Callable[[str], None]) -> None:
        """Serve it alone, until a signal says to stop, on a ledger that others maintain."""
        console = self._console(partial(open_stores, self._settings))
        server = _OwnProcess(console, self._application, self.socket, lambda: ready(self.url))
        server.run(sockets=[self.socket])

    def _console(
        self,
        opened: Callable[[], AbstractAsyncContextManager[Ledger]],
        metrics: RequestMetrics | None = None,
    ) -> Console:
        # Browsers share the cookies of a host among its ports: two consoles are two logins.
        port = self.socket.getsockname()[1]
        return Console(self._settings, opened, f"__Host-console-{port}", metrics)

    def _application(self, console: Console) -> Application:
        port = self.socket.getsockname()[1]
        own = [f"{host}:{port}" for host in LOOPBACK]
        return Application(console, self._settings.console_hosts or own)


class _Server(uvicorn.Server):
    """A server that leaves signals to the one that it runs beside. Streams end first."""

    def __init__(
        self,
        console: Console,
        application: Callable[[Console], Application],
        listening: socket.socket,
    ) -> None:
        from sessionledger.server.process.protocol import BoundedProtocol

        super().__init__(
            uvicorn.Config(
                application(console),
                loop="uvloop",
                http=BoundedProtocol,
                ws="none",
                interface="asgi3",
                lifespan="on",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._console = console
        self._listening = listening

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit` is set."""
        await super().serve(sockets or [self._listening])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams end, then what is under way."""
        self._console.stopping.set()
        await super().shutdown(sockets)


class _OwnProcess(_Server):
    """A server that has the process to itself. A signal stops it, which is a good end."""

    def __init__(
        self,
        console: Console,
        application: Callable[[Console], Application],
        listening: socket.socket,
        ready: Callable[[], None],
    ) -> None:
        super().__init__(console, application, listening)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the address once requests are answered there."""
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop for them."""
        loop = asyncio.get_running_loop()
        for number in STOPS:
            loop.add_signal_handler(number, self._stop)
        yield
        for number in STOPS:
            loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.should_exit = True
