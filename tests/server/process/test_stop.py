"""A stop under load: who has connected is answered, and what was acknowledged is in the ledger."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.server.process.serve import _refuse_connections
from sessionledger.testing.fixtures import until
from tests.server.process.test_workers import children
from tests.server.served import PATIENCE_SECONDS, Served, make_key

CLIENTS = 3
"""Of each kind."""


class Load:
    """Clients that ask until nobody listens any more, and what became of their requests."""

    def __init__(self, served: Served, key: str) -> None:
        self._address = served.address
        token = served.create(key)["token"]
        served.client.close()
        body = b'{"principal": "load"}'
        head = b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        self._requests = [
            b"%bcontent-length: %d\r\nauthorization: Bearer %b\r\n\r\n%b"
            % (head, len(body), key.encode(), body),
            b"GET /auth HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n\r\n" % token.encode(),
        ]
        self.created: list[str] = []
        self.statuses: set[int] = set()
        self.lost: list[str] = []
        kinds = [self._keep_connections, self._connect_each_time] * CLIENTS
        self._threads = [threading.Thread(target=kind) for kind in kinds]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()

    def _keep_connections(self) -> None:
        number = 0
        while (connection := self._connected()) is not None:
            with connection:
                # A client looks whether the server has hung up before it sends the next request.
                while not select.select([connection], [], [], 0)[0]:
                    number += 1
                    if self._ask(connection, number):
                        break

    def _connect_each_time(self) -> None:
        number = 0
        while (connection := self._connected()) is not None:
            number += 1
            with connection:
                self._ask(connection, number)

    def _connected(self) -> socket.socket | None:
        with suppress(ConnectionRefusedError):
            return socket.create_connection(self._address, timeout=PATIENCE_SECONDS)
        return None

    def _ask(self, connection: socket.socket, number: int) -> bool:
        """Whether the answer says that it is the last one of the connection."""
        try:
            connection.sendall(self._requests[number % len(self._requests)])
            head, body = _answer(connection)
        except OSError as error:
            self.lost.append(repr(error))
            return True
        status = int(head.split(maxsplit=2)[1])
        self.statuses.add(status)
        if status == 201:
            self.created.append(body.decode().partition('"handle":"')[2].partition('"')[0])
        return b"connection: close" in head


def _answer(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head and the body of one answer. Raises `OSError` where it does not come as a whole."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    while len(body) < length:
        body += _more(connection)
    return head.lower(), body


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise ConnectionResetError("the server hung up without an answer")
    return part


def only_the_first(pid: int) -> None:
    """As Kubernetes, and systemd with `KillMode=mixed`."""
    os.kill(pid, signal.SIGTERM)


def all_at_once(pid: int) -> None:
    """As Ctrl-C, and systemd without it."""
    for each in [*children(pid), pid]:
        os.kill(each, signal.SIGTERM)


@pytest.mark.middle
@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("tell", [only_the_first, all_at_once])
def test_a_stop_under_load_loses_no_request(
    tmp_path: Path, workers: str, tell: Callable[[int], None]
) -> None:
    key = make_key(tmp_path, "root")
    limits = ("--writes-per-minute", "100000", "--no-access-log")
    with Served(tmp_path, "--workers", workers, *limits) as served:
        load = Load(served, key)
        until(lambda: len(load.created) > 200)
        tell(served.process.pid)
        assert served.ended() == 0
        load.end()
    assert load.lost == []
    assert load.statuses == {200, 201}
    with SessionStore.open(f"sqlite:///{tmp_path}/sessions.db") as store:
        assert [handle for handle in load.created if store.find(handle=handle) is None] == []
        assert store.count(principal="load") == len(load.created)


@pytest.mark.middle
def test_a_request_that_arrives_during_a_stop_is_answered(tmp_path: Path) -> None:
    with Served(tmp_path, "--no-access-log") as served:
        with socket.create_connection(served.address, timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
            # The server has read that before it stops.
            assert served.call("GET", "/healthz").status_code == 200
            served.client.close()
            served.process.send_signal(signal.SIGTERM)
            until(lambda: not listens(served))
            connection.sendall(b"host: x\r\n\r\n")
            head, _ = _answer(connection)
            assert head.startswith(b"http/1.1 200 ")
            assert b"connection: close" in head
            assert connection.recv(1) == b""
        assert served.ended() == 0


def listens(served: Served) -> bool:
    with suppress(ConnectionRefusedError):
        socket.create_connection(served.address, timeout=PATIENCE_SECONDS).close()
        return True
    return False


def test_who_has_connected_is_accepted_and_nobody_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        with socket.create_connection(listening.getsockname()) as first:
            _refuse_connections(listening)
            with socket.socket() as second:
                second.setblocking(False)
                second.connect_ex(listening.getsockname())
                accepted, _ = listening.accept()
                with pytest.raises(BlockingIOError):
                    listening.accept()
                with accepted:
                    first.sendall(b"request")
                    assert accepted.recv(7) == b"request"
