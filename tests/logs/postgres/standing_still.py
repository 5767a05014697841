"""A server that stands still, and a network that swallows what is sent."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import postgres_server


class Swallower:
    """A way to a server by TCP, which drops all that is sent while `swallows`.

    Nobody is told: connections stay open, and new ones are accepted.
    """

    def __init__(self, connect: Callable[[], socket.socket] | None = None) -> None:
        """connect: to the server that is meant; the test run's by default."""
        self.swallows = False
        self._connect = connect or _to_the_server_of_the_run
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._closing = threading.Event()
        self._begin(self._accept)

    def url(self, place: Path) -> str:
        """The address of a ledger that is reached this way."""
        ((database,),) = postgres_server.execute("SELECT current_database()")
        schema = postgres_server.schema(place)
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?schema={schema}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listening.getsockname()[1])

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        self.swallows = True
        try:
            yield
        finally:
            self.swallows = False

    def close(self) -> None:
        self._closing.set()
        for end in (self._listening, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _begin(self, run: object, *given: object) -> None:
        threading.Thread(target=run, args=given, daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.swallows:
                self._ends.append(client)
                continue
            try:
                server = self._connect()
            except OSError:
                client.close()
            else:
                self._ends += (client, server)
                self._begin(self._pass_both_ways, client, server)

    def _pass_both_ways(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=self._pass_on, args=(server, client), daemon=True)
        back.start()
        self._pass_on(client, server)
        back.join()
        # Clients that find no primary come again and again: a process may have so many files.
        for end in (client, server):
            self._ends.remove(end)
            end.close()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.swallows:
                    # What was lost does not come later: this connection is dead from now on.
                    self._closing.wait()
                    return
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _to_the_server_of_the_run() -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.connect(str(postgres_server.socket_path()))
    return server


@contextmanager
def stopped_server() -> Iterator[None]:
    """Every process of the server is stopped. The system still accepts what is sent to them."""
    pids = processes(Path(postgres_server.execute("SHOW data_directory")[0][0]))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def processes(data: Path) -> list[int]:
    """Every process of the server that has this folder, the first one first."""
    postmaster = int((data / "postmaster.pid").read_text().split()[0])
    return [postmaster, *_children(postmaster)]


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
