"""/auth: 200, 401 or 403, and always the identity headers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger.server.fast_path import as_application
from sessionledger.server.http.asgi import Message
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.proxy.forward_auth import IDENTITY, ForwardAuth
from sessionledger.server.service.service import Service
from tests.server.conftest import SETTINGS
from tests.server.web import JSON, Web

COOKIE = "__Host-session"


def identity(answer: httpx.Response) -> dict[str, str]:
    return {name.decode(): unquote(answer.headers[name.decode()]) for name in IDENTITY}


def is_nobody(answer: httpx.Response) -> bool:
    return set(identity(answer).values()) == {""}


@pytest.fixture
def made(web: Web) -> JSON:
    said = {"scope": "read write", "client_id": "app", "username": "Alice é\r\nX: y"}
    return web.create("users/alice é", attributes=said)


def test_a_live_session_passes_with_its_identity(web: Web, made: JSON) -> None:
    answer = web("GET", "/auth", token=made["token"])
    assert (answer.status_code, answer.content) == (200, b"")
    told = identity(answer)
    assert int(told.pop("x-auth-expires")) > 0
    assert told == {
        "x-auth-principal": "users/alice é",
        "x-auth-handle": made["handle"],
        "x-auth-scope": "read write",
        "x-auth-client-id": "app",
        "x-auth-username": "Alice é\r\nX: y",
    }
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/auth", "/auth/", "/auth/orders/1?scope=none&x=%zz"])
def test_any_method_and_any_path_below(web: Web, made: JSON, method: str, path: str) -> None:
    assert web(method, path, token=made["token"], content=b"body").status_code == 200
    refused = web(method, path, token="harn_sess_" + "A" * 43)
    assert (refused.status_code, is_nobody(refused)) == (401, True)


def test_a_path_that_only_begins_alike_is_another(web: Web, made: JSON) -> None:
    assert web("GET", "/authority", token=made["token"]).status_code == 404


def test_what_has_nothing_to_say_is_empty(web: Web) -> None:
    token = web.create("alice")["token"]
    told = identity(web("GET", "/auth", token=token))
    assert (told["x-auth-scope"], told["x-auth-client-id"], told["x-auth-username"]) == ("",) * 3


def test_a_cookie_will_do_where_there_is_no_header(web: Web, made: JSON) -> None:
    cookie = {"Cookie": f"a=b; {COOKIE}={made['token']}; c=d"}
    assert web("GET", "/auth", token="", headers=cookie).status_code == 200
    wrong = {"Cookie": f"{COOKIE}x={made['token']}"}
    assert web("GET", "/auth", token="", headers=wrong).status_code == 401


def test_two_cookies_of_that_name_are_none(web: Web, made: JSON) -> None:
    """One of them was put there by somebody else, and nobody can tell which."""
    cookie = {"Cookie": f"{COOKIE}={made['token']}; {COOKIE}=x"}
    assert web("GET", "/auth", token="", headers=cookie).status_code == 401


def test_no_token_that_is_not_good_is_told_apart(web: Web, made: JSON) -> None:
    web("DELETE", f"/v1/sessions/{made['handle']}")
    tokens = [made["token"], "harn_sess_" + "A" * 43, "short", web.key]
    answers = [web("GET", "/auth", token=token) for token in tokens]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert all(map(is_nobody, answers))
    assert "invalid_token" in answers[0].headers["www-authenticate"]


@pytest.mark.parametrize("value", ["Bearer", "Bearer a b", "Basic eDp5", ""])
def test_credentials_that_say_nothing_are_401(web: Web, value: str) -> None:
    answer = web("GET", "/auth", token="", headers={"Authorization": value})
    assert (answer.status_code, is_nobody(answer)) == (401, True)
    assert answer.headers["www-authenticate"].startswith("Bearer realm=")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("scope=read", 200),
        ("scope=read&scope=write", 200),
        ("scope=write%20read", 200),
        ("scope=admin", 403),
        ("scope=read+admin", 403),
        ("max_auth_age=3600", 200),
        ("max_auth_age=x", 403),
        ("max_auth_age=0", 403),
        ("scope=", 403),
        ("scope=%22", 403),
        ("nonsense=1", 403),
    ],
)
def test_more_may_be_required(web: Web, made: JSON, query: str, status: int) -> None:
    answer = web("GET", f"/auth?{query}", token=made["token"])
    assert answer.status_code == status
    assert is_nobody(answer) == (status != 200)


def test_a_proof_that_is_too_old_is_to_be_renewed(web: Web) -> None:
    began = datetime.now(UTC) - timedelta(hours=2)
    sessions = web.ledger.sessions
    made = web.run(lambda: sessions.create("alice", created_at=began))
    assert web("GET", "/auth", token=made.token).status_code == 200
    answer = web("GET", "/auth?max_auth_age=600", token=made.token)
    assert (answer.status_code, is_nobody(answer)) == (401, True)
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_user_authentication", max_age="600"' in challenge
    web.run(lambda: sessions.reauthenticate(made.token))
    assert web("GET", "/auth?max_auth_age=600", token=made.token).status_code == 200


def test_a_ledger_in_trouble_lets_nobody_pass(web: Web, made: JSON) -> None:
    web.run(web.ledger.sessions.close)
    answer = web("GET", "/auth", token=made["token"])
    assert (answer.status_code, is_nobody(answer)) == (403, True)


@given(st.binary(max_size=40), st.binary(max_size=40), st.text(max_size=20), st.binary(max_size=20))
def test_whatever_comes_is_answered_by_one_of_three(
    authorization: bytes, cookie: bytes, path: str, query: bytes
) -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/auth" + path,
        "query_string": query,
        "headers": [(b"authorization", authorization), (b"cookie", cookie)],
    }
    assert answered(scope) in (401, 403)


def answered(scope: JSON) -> int:
    """The status that the endpoint answers by itself, with a ledger that is not open."""
    statuses: list[int] = []

    async def nothing() -> Message:
        raise AssertionError("a body is not looked at")

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    async def run() -> None:
        endpoint = ForwardAuth(Service(SETTINGS, RequestMetrics(["x"])))
        await as_application(endpoint)(scope, nothing, send)

    asyncio.run(run())
    return statuses[0]
