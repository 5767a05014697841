"""A way to the server that can be cut where it hurts: at a commit."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from pathlib import Path

from tests import postgres_server

COMMIT = b"COMMIT\0"
APPENDED = b"SELECT "
"""The answer to the call of a function that appends."""
_PREPARED = re.compile(rb'P.{4}([^\0]+)\0SELECT \* FROM "\w+"\.ledger_append', re.DOTALL)


class Way:
    """Passes on what client and server say to each other.

    `lose` says what is lost at the next commit, or call of a function that appends: "the question",
    which the server never gets, or "the answer". The connection ends then; others can be made,
    unless `then_refuse` says so.
    """

    def __init__(self, folder: Path) -> None:
        self.lose = ""
        self.lost = 0
        self.then_refuse = False
        self._server = str(postgres_server.socket_path())
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / ".s.PGSQL.5432"))
        self._listening.listen()
        self.address = postgres_server.by_socket(folder)
        self._begin(self._accept)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _begin(self, run: object, *given: object) -> None:
        threading.Thread(target=run, args=given, daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            if self.lost and self.then_refuse:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            answered = threading.Event()
            self._begin(self._ask, client, server, answered)
            self._begin(self._answer, client, server, answered)

    def _ask(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        calls = set[bytes]()
        while data := _received(client):
            calls.update(_PREPARED.findall(data))
            is_call = any(_bound(name) in data for name in calls)
            if self.lose and (COMMIT in data or is_call):
                lost, self.lose = self.lose, ""
                self.lost += 1
                if lost == "the question":
                    break
                cut.set()
            with suppress(OSError):
                server.sendall(data)
        _end(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, cut: threading.Event) -> None:
        while data := _received(server):
            if not cut.is_set():
                with suppress(OSError):
                    client.sendall(data)
            elif COMMIT in data or APPENDED in data:
                break
        _end(client, server)


def _bound(name: bytes) -> bytes:
    """What a call of a prepared statement holds: no portal, and the name."""
    return b"\0" + name + b"\0"


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(1 << 16)
    except OSError:
        return b""


def _end(*ends: socket.socket) -> None:
    for end in ends:
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue
        end.close()
