"""Requests that arrive in any pieces are answered as on a connection of their own."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from uvicorn.server import ServerState

from sessionledger.server import create_app
from sessionledger.server.process.protocol import FastProtocol
from tests.server.conftest import SETTINGS
from tests.server.served import PATIENCE_SECONDS
from tests.server.web import Web


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """All but the date."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    body = b"" if length is None else await reader.readexactly(int(length[1]))
    return re.sub(rb"date: [^\r]*", b"date", head) + body


class Asking:
    """The service over connections without sockets, and requests to it: of some kinds, and each
    about some tokens."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._config = uvicorn.Config(web.application, http=FastProtocol, log_config=None)
        self._config.load()
        self.key, poor = web.key, web.make_key("poor", "sessions:read")
        tokens = [web.create(name)["token"] for name in ("alice", "bob")]
        self.live = request("POST /introspect", web.key, f"token={tokens[0]}")
        asked = ["harn_sess_" + "A" * 43, "x", *tokens, tokens[0] + "&token_type_hint=x"]
        self.requests = [
            request("GET /healthz", web.key),
            request("GET /auth", tokens[1]),
            request("POST /auth", tokens[1], "token=x"),
            *(request("POST /introspect", web.key, f"token={token}") for token in asked),
            *(request("POST /introspect?", web.key, f"token={token}") for token in asked),
            *(request("POST /introspect", poor, f"token={token}") for token in asked),
        ]

    def __call__(
        self, pieces: Sequence[bytes], count: int, closed_by: Sequence[bytes] = ()
    ) -> list[bytes]:
        """What is answered to what comes in these pieces over one connection.

        closed_by: what comes then, and ends the connection without another answer.
        """

        async def ask() -> list[bytes]:
            loop = asyncio.get_running_loop()
            protocol = FastProtocol(self._config, ServerState(), {}, loop)
            ours, theirs = socket.socketpair()
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
            reader, writer = await asyncio.open_connection(sock=theirs)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    for piece in pieces:
                        protocol.data_received(piece)
                    answers = [await read_answer(reader) for _ in range(count)]
                    for piece in closed_by:
                        protocol.data_received(piece)
                    assert not closed_by or await reader.read() == b""
                    return answers
            finally:
                transport.close()
                writer.close()

        return self._web.run(ask)


def request(line: str, bearer: str, body: str = "") -> bytes:
    lines = [f"{line} HTTP/1.1", "host: here", f"authorization: Bearer {bearer}"]
    if body:
        form = "content-type: application/x-www-form-urlencoded"
        lines += [form, f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", body]).encode()


@pytest.fixture(scope="module")
def ask() -> Iterator[Asking]:
    kinds = ("key", "principal", "address")
    unlimited = {f"{kind}_requests_per_minute": None for kind in kinds}
    with Web(create_app(structs.replace(SETTINGS, access_log=False, **unlimited))) as web:
        yield Asking(web)


@given(st.data())
def test_each_is_answered_as_on_a_connection_of_its_own(ask: Asking, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.sampled_from(ask.requests), min_size=2, max_size=7))
    blank = data.draw(st.sampled_from([b"", b"\r\n"]))
    sent = blank.join(drawn)
    ends = [sum(map(len, drawn[:n])) + n * len(blank) for n in range(len(drawn))]
    cuts = data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=4))
    if data.draw(st.booleans()):
        cuts |= set(ends[1:])
    at = [0, *sorted(cuts), len(sent)]
    pieces = [sent[begin:end] for begin, end in pairwise(at)]
    assert ask(pieces, len(drawn)) == [ask([one], 1)[0] for one in drawn]


def test_what_is_within_another_request_is_none(ask: Asking) -> None:
    begun = b"GET /healthz HTTP/1.1\r\nhost: here\r\nx-more: "
    within = ask([ask.live, ask.live, begun, ask.live], 3)[2]
    assert within == ask([begun + ask.live], 1)[0] != ask([ask.live], 1)[0]


def test_the_end_of_a_request_is_none(ask: Asking) -> None:
    known = ask.live
    end = known[known.index(b"content-type") :]
    answers = ask([known, end], 2)
    assert [answer[9:12] for answer in answers] == [b"200", b"400"]


def test_an_answer_that_is_under_way_comes_first(ask: Asking) -> None:
    known = ask.live
    pieces = [known, known, request("GET /healthz", ""), known]
    assert ask(pieces, len(pieces)) == [ask([piece], 1)[0] for piece in pieces]


@pytest.mark.parametrize("beside", ["2;", "2\r\nab\r\n0\r\nx: "])
def test_what_is_too_large_beside_a_body_is_not_answered_twice(ask: Asking, beside: str) -> None:
    head = request("DELETE /auth", "x").removesuffix(b"\r\n")
    begun = head + b"transfer-encoding: chunked\r\n\r\n" + beside.encode()
    (answer,) = ask([begun], 1, closed_by=[b"x" * 40_000] * 2)
    assert answer.startswith(b"HTTP/1.1 401 ")
