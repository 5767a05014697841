"""Answers at once: to the letter what the application answers, or none at all."""

from __future__ import annotations

import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionledger import IssuedSession, Session, SessionStore
from sessionledger.server import Settings, create_app
from sessionledger.server.fast_path import CompleteRequest
from sessionledger.server.http.asgi import Message, PlainResponse
from sessionledger.server.service.keys import KEY_POLICY, new_key
from sessionledger.server.settings import KEYS_TOPIC
from tests.server.served import PATIENCE_SECONDS, Served
from tests.server.web import Web

OPTIONS = ("--no-access-log", "--touch-interval", "1h", "--address-requests-per-minute", "none")
FORM = "content-type: application/x-www-form-urlencoded"
NOT_LIVE = "harn_sess_" + "A" * 43

# What is sent to /introspect: the headers and the body, in which what is in braces is put in. Then
# whether it is answered at once, and the status.
INTROSPECTED: list[tuple[tuple[str, ...], str, bool, int]] = [
    (("authorization: Bearer {key}", FORM), "token={token}", True, 200),
    (("authorization: bearer  {key}", FORM), "token={token}&token_type_hint=x", True, 200),
    (("authorization: Basic {basic}", FORM), "token={token}", True, 200),
    (("authorization: Bearer {lower}", FORM), "token={token}", True, 200),
    (("authorization: Bearer {key}", FORM + "; charset=utf-8"), "a=&token={escaped}", True, 200),
    (("x-a: 1", FORM.upper(), "Authorization: Bearer {key}"), "token={bare}", True, 200),
    (("authorization: Bearer {key}", FORM), "token={ended}", False, 200),
    (("authorization: Bearer {key}", FORM), "token=" + NOT_LIVE, False, 200),
    (("authorization: Bearer {key}", FORM), "token=x", False, 200),
    (("authorization: Bearer {key}", FORM), "token={key}", False, 200),
    (("authorization: Bearer {key}", FORM), "token=%ff", False, 400),
    (("authorization: Bearer {key}", FORM), "token={token}&token={token}", False, 400),
    (("authorization: Bearer {key}", FORM), "", False, 400),
    (("authorization: Bearer {key}", FORM), "other=1", False, 400),
    (("authorization: Bearer {key}", FORM), "token=" + "x" * 200_000, False, 413),
    (("authorization: Bearer {key}", "content-type: application/json"), "{{}}", False, 415),
    (("authorization: Bearer {key}",), "token={token}", False, 415),
    (("authorization: Bearer {poor}", FORM), "token={token}", False, 403),
    (("authorization: Bearer {over}", FORM), "token={token}", False, 401),
    (("authorization: Bearer {orphan}", FORM), "token={token}", False, 401),
    (("authorization: Bearer {token}", FORM), "token={token}", False, 401),
    (("authorization: Basic {other}", FORM), "token={token}", False, 401),
    (("authorization: Basic !", FORM), "token={token}", False, 400),
    (("authorization: Bearer {key}", "authorization: Bearer {key}", FORM), "token=x", False, 400),
    ((FORM,), "token={token}", False, 401),
]
PASSED: list[tuple[tuple[str, ...], str, bool, int]] = [
    (("authorization: Bearer {token}",), "", True, 200),
    (("authorization: Bearer {bare}",), "", True, 200),
    (("cookie: a=b; __Host-session={token}", "sec-fetch-site: same-origin"), "", True, 200),
    (("cookie: __Host-session={token}", "x-original-method: POST"), "", False, 403),
    (("authorization: Bearer {token}", "cookie: __Host-session={ended}"), "", True, 200),
    (("authorization: Bearer {ended}",), "", False, 401),
    (("authorization: Bearer {key}",), "", False, 401),
    (("authorization: Basic {basic}",), "", False, 401),
    (("cookie: __Host-session={token}; __Host-session={token}",), "", False, 401),
    ((), "", False, 401),
]
CASES = [
    *(("POST", "/introspect", *case) for case in INTROSPECTED),
    *(("GET", "/auth", *case) for case in PASSED),
    *(("POST", "/auth/any/a/b", *case) for case in PASSED),
    ("GET", "/introspect", ("authorization: Bearer {key}", FORM), "token={token}", False, 405),
]


@pytest.fixture(scope="module")
def known(folder: Path, key: str) -> dict[str, str]:
    """What is put into requests, by its name."""
    address = f"sqlite:///{folder / 'sessions.db'}"
    with SessionStore.open(address, topic=KEYS_TOPIC, policy=KEY_POLICY) as keys:

        def issued(name: str, scope: str, maker: Session | None = None) -> IssuedSession:
            parent = None if maker is None else maker.handle
            return keys.create(name, attributes=new_key(name, [scope], None), parent=parent)

        root, above, over = (
            keys.get(key),
            issued("above", "introspect"),
            issued("over", "introspect"),
        )
        told = {
            "key": key,
            "poor": issued("poor", "sessions:read").token,
            "over": over.token,
            "lower": issued("lower", "introspect", root).token,
            "orphan": issued("orphan", "introspect", above).token,
            "basic": b64encode(f"root:{key}".encode()).decode(),
            "other": b64encode(f"poor:{key}".encode()).decode(),
        }
        keys.expire(above.token)
        keys.expire(over.token)
    with SessionStore.open(address) as store:
        said = {"scope": ["a", "b"], "client_id": 'ä"', "username": "Al ice"}
        told["token"] = store.create("alice ü", attributes=said).token
        told["bare"] = store.create("bob").token
        told["ended"] = store.create("carol").token
        store.expire(told["ended"])
    told["escaped"] = told["token"].replace("_", "%5F") + "++"
    return told


def request(
    method: str, target: str, headers: tuple[str, ...], body: str, known: dict[str, str]
) -> tuple[bytes, bytes]:
    """The head and the body."""
    content = body.format_map(known).encode()
    lines = [f"{method} {target} HTTP/1.1", "host: here", *headers]
    if content or method == "POST":
        lines.append(f"content-length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).format_map(known).encode(), content


class Answers:
    """A connection, on which answers are read to the letter, but for the date."""

    def __init__(self, served: Served) -> None:
        self._socket = socket.create_connection(served.address, PATIENCE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __call__(self, *pieces: bytes) -> bytes:
        for piece in pieces:
            self._socket.sendall(piece)
        lines = []
        while (line := self._file.readline()) not in (b"\r\n", b""):
            lines.append(line)
        head = b"".join(lines)
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None, head
        assert head.count(b"\r\ndate: ") == 1
        return re.sub(rb"date: [^\r]*", b"date", head) + self._file.read(int(length[1]))

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def answers(served: Served) -> Iterator[Answers]:
    answers = Answers(served)
    yield answers
    answers.close()


@pytest.fixture(scope="module")
def here(folder: Path, known: dict[str, str]) -> Iterator[Web]:
    """The service in this process, on the same ledger."""
    address = f"sqlite:///{folder / 'sessions.db'}"
    assert known
    application = create_app(Settings(ledger=address, sweep_interval=None, access_log=False))
    with Web(application, "here") as web:
        yield web


@pytest.mark.parametrize(("method", "path", "headers", "body", "_", "status"), CASES)
def test_both_ways_answer_the_same_to_the_letter(
    answers: Answers,
    known: dict[str, str],
    method: str,
    path: str,
    headers: tuple[str, ...],
    body: str,
    _: bool,
    status: int,
) -> None:
    """What is not plain goes the usual way: a question mark, a body that is late."""
    head, content = request(method, path, headers, body, known)
    odd = request(method, path + "?", headers, body, known)[0]
    told = answers(head + content)
    assert told.startswith(b"HTTP/1.1 %d " % status)
    assert answers(head + content) == told
    assert answers(odd + content) == told
    if content:
        chunked = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", head)
        assert answers(chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)) == told
    # What is answered without its body may be answered before it has come.
    late = answers(head[:-3], head[-3:] + content[:5], content[5:])
    assert late.replace(b"connection: close\r\n", b"") == told


def test_what_has_changed_is_told_at_once_and_both_ways(
    folder: Path, answers: Answers, known: dict[str, str]
) -> None:
    def ask(target: str, *headers: str, body: str = "") -> bytes:
        told = [
            answers(b"".join(request("POST", path, headers, body, known)))
            for path in (target, target, target + "?")
        ]
        assert told[0] == told[1] == told[2]
        return told[0]

    with SessionStore.open(f"sqlite:///{folder / 'sessions.db'}") as store:
        token = store.create("dora").token
        for scope in ("one", "two", "three"):
            store.patch(token, {"scope": scope})
            assert f"x-auth-scope: {scope}\r\n".encode() in ask(
                "/auth", f"authorization: Bearer {token}"
            )
            asking = ("authorization: Bearer {key}", FORM)
            assert f'"scope":"{scope}"'.encode() in ask(
                "/introspect", *asking, body=f"token={token}"
            )
        store.expire(token)
    assert b" 401 " in ask("/auth", f"authorization: Bearer {token}")
    assert ask("/introspect", *asking, body=f"token={token}").endswith(b'{"active":false}')


@pytest.mark.parametrize("which", ["itself", "above"])
def test_a_key_that_was_good_is_refused_once_it_or_one_above_is_revoked(
    folder: Path, answers: Answers, known: dict[str, str], which: str
) -> None:
    def status(key: str) -> bytes:
        asking = (f"authorization: Bearer {key}", FORM)
        return answers(b"".join(request("POST", "/introspect", asking, "token={token}", known)))[
            9:12
        ]

    address = f"sqlite:///{folder / 'sessions.db'}"
    with SessionStore.open(address, topic=KEYS_TOPIC, policy=KEY_POLICY) as keys:

        def issued(name: str, parent: str | None) -> IssuedSession:
            attributes = new_key(name, ["introspect"], None)
            return keys.create(name, attributes=attributes, parent=parent)

        maker = issued(f"maker-of-{which}", None)
        lower = issued(f"made-for-{which}", maker.handle)
        assert [status(lower.token) for _ in range(3)] == [b"200"] * 3
        keys.expire({"itself": lower, "above": maker}[which].token)
        assert status(lower.token) == b"401"
        assert status(maker.token) == {"itself": b"200", "above": b"401"}[which]


@pytest.mark.parametrize(("method", "path", "headers", "body", "at_once_expected", "status"), CASES)
def test_what_is_plain_and_live_is_answered_at_once(
    here: Web,
    known: dict[str, str],
    method: str,
    path: str,
    headers: tuple[str, ...],
    body: str,
    at_once_expected: bool,
    status: int,
) -> None:
    pairs = [
        (name.lower().encode(), value.strip().format_map(known).encode())
        for name, _, value in (line.partition(":") for line in headers)
    ]
    content = body.format_map(known).encode()
    asked = CompleteRequest(method, path, pairs, content)

    async def ask() -> tuple[PlainResponse | None, list[Message]]:
        at_once = here.application.answer_at_once(asked, "192.0.2.1")
        return at_once, await _asked(here, asked, content)

    at_once, (start, sent) = here.run(ask)
    assert (at_once is not None, start["status"]) == (at_once_expected, status)
    if at_once is not None:
        assert (at_once.status, at_once.body) == (start["status"], sent["body"])
        length = (b"content-length", b"%d" % len(at_once.body))
        *rest, last = [length, *at_once.headers.all, *at_once.more]
        assert [*rest, last[0]] == [*start["headers"][:-1], start["headers"][-1][0]]
        assert last[0] == b"ratelimit"


async def _asked(web: Web, asked: CompleteRequest, content: bytes) -> list[Message]:
    """What the application sends."""
    sent: list[Message] = []
    scope: dict[str, Any] = {
        "type": "http",
        "method": asked.method,
        "path": asked.path,
        "query_string": b"",
        "headers": asked.headers,
        "client": ("192.0.2.1", 1),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": content}

    async def send(message: Message) -> None:
        sent.append(message)

    await web.application(scope, receive, send)
    return sent
