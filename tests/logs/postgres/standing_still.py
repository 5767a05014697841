"""A server that stands still, and a network that swallows what is sent."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import postgres_server


class Swallower:
    """A way to the server by TCP, which drops all that is sent while `swallows`.

    Nobody is told: connections stay open, and new ones are accepted.
    """

    def __init__(self) -> None:
        self.swallows = False
        self._server = str(postgres_server.socket_path())
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._begin(self._accept)

    def url(self, place: Path) -> str:
        """The address of a ledger that is reached this way."""
        ((database,),) = postgres_server.execute("SELECT current_database()")
        port = self._listening.getsockname()[1]
        schema = postgres_server.schema(place)
        return f"postgresql://postgres@127.0.0.1:{port}/{database}?schema={schema}"

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        self.swallows = True
        try:
            yield
        finally:
            self.swallows = False

    def close(self) -> None:
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
            server = socket.socket(socket.AF_UNIX)
            self._ends += [client, server]
            if not self.swallows:
                server.connect(self._server)
                self._begin(self._pass_on, client, server)
                self._begin(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.swallows:
                    # What was lost does not come later: this connection is dead from now on.
                    return
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def stopped_server() -> Iterator[None]:
    """Every process of the server is stopped. The system still accepts what is sent to them."""
    folder = Path(postgres_server.execute("SHOW data_directory")[0][0])
    postmaster = int((folder / "postmaster.pid").read_text().split()[0])
    pids = [postmaster, *_children(postmaster)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
