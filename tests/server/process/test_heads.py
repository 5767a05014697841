"""Heads that come again: a request is answered what it is answered on a connection of its own."""

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
from sessionledger.server.fast_path import Arrived, Prompt
from sessionledger.server.process.heads import head_of
from sessionledger.server.process.protocol import BoundedProtocol
from tests.server.conftest import SETTINGS
from tests.server.served import PATIENCE_SECONDS
from tests.server.web import Web

HEAD = b"POST /introspect HTTP/1.1\r\nhost: here\r\ncontent-length: 7\r\n\r\n"
BODY = b"token=a"


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
        self._config = uvicorn.Config(web.front, http=BoundedProtocol, log_config=None)
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

    def __call__(self, pieces: Sequence[bytes], count: int) -> list[bytes]:
        """What is answered to what comes in these pieces over one connection."""

        async def ask() -> list[bytes]:
            loop = asyncio.get_running_loop()
            protocol = BoundedProtocol(self._config, ServerState(), {}, loop)
            ours, theirs = socket.socketpair()
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
            reader, writer = await asyncio.open_connection(sock=theirs)
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    for piece in pieces:
                        protocol.data_received(piece)
                    return [await read_answer(reader) for _ in range(count)]
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
    with Web(create_app(structs.replace(SETTINGS, access_log=False))) as web:
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


def test_the_end_of_a_head_is_none(ask: Asking) -> None:
    known = ask.live
    end = known[known.index(b"content-type") :]
    answers = ask([known.removesuffix(end), end, end], 2)
    assert [answer[9:12] for answer in answers] == [b"200", b"400"]


def test_an_answer_that_is_under_way_comes_first(ask: Asking) -> None:
    known = ask.live
    pieces = [known, known, request("GET /healthz", ""), known]
    assert ask(pieces, len(pieces)) == [ask([piece], 1)[0] for piece in pieces]


def test_a_head_is_known_again_with_another_body_of_that_length() -> None:
    head = head_of(HEAD + BODY, _ASKED, _call())
    assert head is not None
    found = head.of(HEAD + b"token=b")
    assert found is not None
    assert (found.method, found.path, found.content) == ("POST", "/introspect", b"token=b")
    assert found.caller is None
    assert re.search(b"token=a", repr(head).encode()) is None


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"token=",
        HEAD + b"token=bb",
        HEAD.replace(b"here", b"hers") + b"token=b",
        HEAD.upper() + b"token=b",
        (HEAD + b"token=b")[1:] + b"P",
        b"",
    ],
)
def test_another_head_or_length_is_not(data: bytes) -> None:
    head = head_of(HEAD + BODY, _ASKED, _call())
    assert head is not None
    assert head.of(data) is None


@pytest.mark.parametrize(
    "piece",
    [
        b"\r\n\r\n" + HEAD + BODY,
        HEAD + BODY + b"\r\n",
        HEAD + BODY + HEAD + BODY,
        b"GET / HTTP/1.1\r\n\r\n" + HEAD + BODY,
        BODY,
        b"",
    ],
)
def test_what_came_with_more_or_in_pieces_is_not_kept(piece: bytes) -> None:
    assert head_of(piece, _ASKED, _call()) is None


def test_a_request_without_a_body_is_not_kept() -> None:
    assert head_of(HEAD, _ASKED, Arrived("GET", "/auth", [], b"")) is None


class _Nothing:
    pass


def _call() -> Arrived:
    return Arrived("POST", "/introspect", [(b"host", b"here")], BODY)


_ASKED = Prompt(_Nothing(), "/introspect")  # type: ignore[arg-type]
