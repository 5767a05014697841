"""`/auth` on the wire: the shorter way answers what the usual one does, and only what is plain."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from sessionledger import SessionStore
from tests.server.served import PATIENCE_SECONDS, Served

OPTIONS = ("--no-access-log", "--touch-interval", "1h")


class Wire:
    """A connection, on which answers without a body are read one by one."""

    def __init__(self, served: Served) -> None:
        self._socket = socket.create_connection(served.address, PATIENCE_SECONDS)
        self._file = self._socket.makefile("rb")

    def send(self, *requests: bytes) -> None:
        self._socket.sendall(b"".join(requests))

    def answer(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of the next answer; its body is read over."""
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while (line := self._file.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.decode().partition(": ")
            assert name not in headers
            headers[name] = value
        self._file.read(int(headers.get("content-length", 0)))
        return status, headers

    def content(self) -> tuple[int, bytes]:
        """The status and the body of the next answer."""
        status, length = int(self._file.readline().split()[1]), 0
        while (line := self._file.readline().rstrip(b"\r\n")) != b"":
            name, _, value = line.partition(b": ")
            length = int(value) if name == b"content-length" else length
        return status, self._file.read(length)

    def is_closed(self) -> bool:
        """Whether nothing more comes."""
        try:
            return self._file.read() == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def wire(served: Served) -> Iterator[Wire]:
    wire = Wire(served)
    yield wire
    wire.close()


@pytest.fixture
def token(served: Served, key: str) -> str:
    told = {"principal": "alice ü", "attributes": {"scope": "read write", "username": "al"}}
    admin = {"Authorization": f"Bearer {key}"}
    created = served.client.post("/v1/sessions", json=told, headers=admin)
    return str(created.json()["token"])


def request(
    token: str, line: bytes = b"GET /auth HTTP/1.1", *headers: bytes, body: bytes = b""
) -> bytes:
    lines = [line, b"host: here", b"authorization: Bearer " + token.encode(), *headers, b"", body]
    return b"\r\n".join(lines)


USUAL = (
    request("TOKEN", b"POST /auth HTTP/1.1", b"content-length: 0"),
    request("TOKEN", b"GET /auth HTTP/1.1", b"content-length: 2", body=b"ab"),
    request("TOKEN", b"GET /auth? HTTP/1.1"),
    request("TOKEN", b"GET /auth?scope=read HTTP/1.1"),
    request("TOKEN", b"GET /auth HTTP/1.1", b"connection: close"),
    request("TOKEN", b"GET /auth HTTP/1.0"),
    request("TOKEN", b"GET /auth HTTP/1.0", b"connection: keep-alive"),
    request("TOKEN", b"DELETE /auth/any/a/b HTTP/1.1"),
)
PLAIN = (
    request("TOKEN"),
    request("TOKEN", b"GET /auth/any/a/b HTTP/1.1"),
    request("TOKEN", b"GET /auth/any/%2e%2e/x HTTP/1.1", b"x-other: 1"),
    request("TOKEN", b"GET /auth HTTP/1.1", b"connection: keep-alive"),
)


def told(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in ("date", "connection")}


@pytest.mark.parametrize("plain", PLAIN)
def test_both_ways_answer_the_same(served: Served, token: str, plain: bytes) -> None:
    answers = []
    for one in (plain, *USUAL):
        wire = Wire(served)
        wire.send(one.replace(b"TOKEN", token.encode()))
        status, headers = wire.answer()
        answers.append((status, told(headers)))
        assert "date" in headers
        wire.close()
    assert [one for one in answers if one != answers[0]] == []
    status, headers = answers[0]
    assert status == 200
    assert headers["x-auth-principal"] == "alice%20%C3%BC"
    assert (headers["x-auth-scope"], headers["x-auth-client-id"]) == ("read%20write", "")
    assert headers["cache-control"] == "no-store"


def test_requests_in_one_piece_are_answered_in_order(wire: Wire, token: str) -> None:
    health = b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n"
    bad = request("harn_sess_" + "x" * 43)
    good = request(token)
    wire.send(good, health, good, bad, good, good, health)
    found = [wire.answer() for _ in range(7)]
    assert [status for status, _ in found] == [200, 200, 200, 401, 200, 200, 200]
    whose = [headers.get("x-auth-principal") for _, headers in found]
    who = "alice%20%C3%BC"
    assert whose == [who, None, who, "", who, who, None]


def test_a_connection_is_kept_and_closed_as_asked(wire: Wire, token: str) -> None:
    for _ in range(3):
        wire.send(request(token))
        assert wire.answer()[0] == 200
    wire.send(request(token, b"GET /auth HTTP/1.1", b"connection: close"))
    assert wire.answer()[0] == 200
    assert wire.is_closed()


@pytest.mark.parametrize("headers", [(), (b"connection: keep-alive",)])
def test_an_older_client_s_connection_is_closed(
    wire: Wire, token: str, headers: tuple[bytes, ...]
) -> None:
    wire.send(request(token, b"GET /auth HTTP/1.0", *headers))
    status, told = wire.answer()
    assert (status, told["connection"]) == (200, "close")
    assert wire.is_closed()


def test_a_head_that_comes_in_pieces_is_answered_once(wire: Wire, token: str) -> None:
    whole = request(token)
    for at in range(0, len(whole), 7):
        wire.send(whole[at : at + 7])
    assert wire.answer()[0] == 200
    wire.send(request("harn_sess_" + "y" * 43))
    assert wire.answer()[0] == 401


def test_a_revocation_shuts_the_door_on_the_next_request(
    served: Served, wire: Wire, key: str, token: str
) -> None:
    wire.send(request(token))
    assert wire.answer()[0] == 200
    mine = {"Authorization": f"Bearer {token}"}
    assert served.client.delete("/v1/session", headers=mine).status_code == 204
    wire.send(request(token), request(token))
    assert [wire.answer()[0] for _ in range(2)] == [401, 401]


def test_duplicate_credentials_are_refused(wire: Wire, token: str) -> None:
    again = b"authorization: Bearer " + token.encode()
    wire.send(request(token, b"GET /auth HTTP/1.1", again))
    assert wire.answer()[0] == 401


def test_a_trailer_is_no_header(wire: Wire, token: str) -> None:
    head = b"POST /auth HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
    trailer = b"2\r\nab\r\n0\r\nauthorization: Bearer " + token.encode() + b"\r\n\r\n"
    wire.send(head + trailer)
    assert wire.answer()[0] == 401


@pytest.mark.parametrize("pieces", [1, 5])
@pytest.mark.parametrize("trailer", [b"x-more: %b", b"a: 1\r\n" * 100_000], ids=["one", "many"])
def test_trailers_are_limited_as_a_head_is(
    wire: Wire, key: str, pieces: int, trailer: bytes
) -> None:
    line, chunked = b"POST /v1/sessions HTTP/1.1", b"transfer-encoding: chunked"
    wire.send(request(key, line, b"content-type: application/json", chunked))
    long = trailer.replace(b"%b", b"x" * 600_000)
    wire.send(b"2\r\n{}\r\n0\r\n")
    size = len(long) // pieces
    with suppress(ConnectionError):
        for piece in range(pieces):
            wire.send(long[piece * size : (piece + 1) * size])
    # What was sent and not read may reset the connection before the answer is read.
    with suppress(ConnectionError):
        assert wire.answer()[0] == 431
    assert wire.is_closed()


def test_a_chunk_s_extension_is_limited_as_a_head_is(wire: Wire, token: str) -> None:
    head = b"POST /auth HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n"
    wire.send(head + b"authorization: Bearer " + token.encode() + b"\r\n\r\n2;")
    assert wire.answer()[0] == 200
    with suppress(ConnectionError):
        wire.send(b"x" * 600_000)
    assert wire.is_closed()


OFFERS = {
    "h2c": b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
    "websocket": b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x",
    "several": b"Upgrade: a, b/1\r\nConnection: keep-alive\r\nConnection: upgrade",
}
FORM = b"content-type: application/x-www-form-urlencoded"


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("pieces", [1, 2, 30])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_offer_of_another_protocol_is_ignored(
    served: Served, key: str, token: str, offer: str, pieces: int, chunked: bool
) -> None:
    """Java's default client makes one with each request (RFC 9110, section 7.8)."""
    form = b"token=" + token.encode()
    size = b"content-length: %d" % len(form)
    body = form
    if chunked:
        size = b"transfer-encoding: chunked"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(form), form)
    line = b"POST /introspect HTTP/1.1"
    one = request(key, line, OFFERS[offer], FORM, size, body=body)
    sent = one + one + request(token) + one
    wire = Wire(served)
    at = [len(sent) * number // pieces for number in range(pieces + 1)]
    for begin, end in pairwise(at):
        wire.send(sent[begin:end])
    for _ in range(2):
        assert json.loads(wire.content()[1])["active"] is True
    assert wire.answer()[0] == 200
    assert json.loads(wire.content()[1])["active"] is True
    wire.close()


def test_many_offers_in_one_piece_are_answered_each(wire: Wire, token: str) -> None:
    offering = request(token, b"GET /auth HTTP/1.1", OFFERS["h2c"])
    wire.send(offering * 200)
    assert [wire.answer()[0] for _ in range(200)] == [200] * 200


def test_a_head_with_an_offer_is_limited_too(wire: Wire, token: str) -> None:
    long = b"x-long: " + b"x" * 70_000
    wire.send(request(token, b"GET /auth HTTP/1.1", OFFERS["h2c"], long))
    assert wire.answer()[0] == 431
    assert wire.is_closed()


@pytest.mark.parametrize("line", [b"CONNECT here:443 HTTP/1.1", b"GET /auth#?scope=x HTTP/1.1"])
def test_what_only_other_servers_understand_is_refused(wire: Wire, token: str, line: bytes) -> None:
    wire.send(request(token, line))
    assert wire.answer()[0] == 400
    assert wire.is_closed()


def test_requests_are_counted_either_way(served: Served, wire: Wire, token: str) -> None:
    def count() -> int:
        text = served.client.get("/metrics").text
        name = 'sessionledger_http_requests_total{route="/auth",status="200"} '
        return sum(int(line.removeprefix(name)) for line in text.splitlines() if name in line)

    before = count()
    wire.send(request(token), request(token, b"HEAD /auth HTTP/1.1"), request(token))
    for _ in range(3):
        wire.answer()
    assert count() == before + 3


def test_it_is_written_into_the_access_log_and_touches_when_that_is_due(tmp_path: Path) -> None:
    ago = datetime.now(UTC) - timedelta(hours=1)
    with SessionStore.open(f"sqlite:///{tmp_path / 'sessions.db'}") as store:
        issued = store.create("bob", created_at=ago, ttl=timedelta(days=1))
    with Served(tmp_path) as served:
        wire = Wire(served)
        for _ in range(3):
            wire.send(request(issued.token))
            assert wire.answer()[0] == 200
        wire.close()
        lines = [json.loads(served.line()) for _ in range(3)]
    with SessionStore.open(f"sqlite:///{tmp_path / 'sessions.db'}") as store:
        kinds = [entry.kind for entry in store.history(handle=issued.handle)]
    assert kinds == ["session_created", "session_touched"]
    assert [(line["route"], line["status"], line["method"]) for line in lines] == [
        ("/auth", 200, "GET")
    ] * 3
    assert issued.token not in str(lines)


def test_a_connection_on_which_nothing_follows_is_closed(tmp_path: Path) -> None:
    with SessionStore.open(f"sqlite:///{tmp_path / 'sessions.db'}") as store:
        token = store.create("bob").token
    with Served(tmp_path, *OPTIONS, "--keep-alive", "1s", "--request-timeout", "1s") as served:
        at_once, usual, blank = Wire(served), Wire(served), Wire(served)
        for _ in range(2):
            at_once.send(request(token))
            usual.send(request(token, b"DELETE /auth HTTP/1.1"))
            blank.send(request(token, b"DELETE /auth HTTP/1.1"))
            assert (at_once.answer()[0], usual.answer()[0], blank.answer()[0]) == (200, 200, 200)
        # Which is no request, and does not keep a connection open.
        blank.send(b"\r\n")
        for wire in (at_once, usual, blank):
            assert wire.is_closed()
            wire.close()


def test_what_follows_an_answer_to_half_a_request_is_no_request(served: Served, token: str) -> None:
    heads = [
        b"POST /auth HTTP/1.1\r\ncontent-length: 5000",
        b"POST /auth HTTP/1.1\r\ntransfer-encoding: chunked",
        b"GET /healthz HTTP/1.1\r\ncontent-length: 5000",
        b"GET /v1/session HTTP/1.1\r\ncontent-length: 5000",
        b"GET /metrics HTTP/1.1\r\ncontent-length: 5000",
        b"GET /nowhere HTTP/1.1\r\ncontent-length: 5000",
    ]
    wires = [Wire(served) for _ in heads]
    for wire, head in zip(wires, heads, strict=True):
        wire.send(request(token, *head.split(b"\r\n")))
        _, headers = wire.answer()
        assert headers["connection"] == "close"
        wire.send(request(token) * 40)
    # The service waits for the body for a while. They wait together.
    for wire in wires:
        assert wire.is_closed()
        wire.close()


def test_a_body_that_comes_after_the_answer_is_read_over_before_the_connection_ends(
    wire: Wire, token: str
) -> None:
    body = b"x" * 1_000_000
    wire.send(request(token, b"POST /auth HTTP/1.1", b"content-length: %d" % len(body)))
    status, headers = wire.answer()
    assert (status, headers["connection"]) == (200, "close")
    wire.send(body)
    assert wire.is_closed()


def test_a_request_whose_body_came_with_it_keeps_the_connection(wire: Wire, token: str) -> None:
    wire.send(request(token, b"POST /auth HTTP/1.1", b"content-length: 2", body=b"ab"))
    status, headers = wire.answer()
    assert (status, headers.get("connection")) == (200, None)
    wire.send(request(token))
    assert wire.answer()[0] == 200
