"""/auth: 200, 401, 403 or 503, and always the identity headers."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sessionledger.server import create_app
from sessionledger.server.fast_path import as_application
from sessionledger.server.http.asgi import Message
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.proxy.forward_auth import IDENTITY, ForwardAuth
from sessionledger.server.service.limits import RequestCount
from sessionledger.server.service.service import COUNT, Service
from tests.integrations.conformance import OURS, THEIRS
from tests.integrations.site import HOST
from tests.server.conftest import SETTINGS
from tests.server.served import PATIENCE_SECONDS, Served
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
        "x-auth-delegated-by": "",
    }
    assert answer.headers["cache-control"] == "no-store"


def test_a_child_passes_with_those_above_it(web: Web, made: JSON) -> None:
    agent = web.create("agent, 7%2C", parent=made["token"])
    tool = web.create("tool", parent=agent["token"])
    chain = web("GET", "/auth", token=tool["token"]).headers["x-auth-delegated-by"]
    assert chain == "agent%2C%207%252C,users%2Falice%20%C3%A9"
    assert [unquote(one) for one in chain.split(",")] == ["agent, 7%2C", "users/alice é"]
    web("DELETE", f"/v1/sessions/{made['handle']}")
    assert is_nobody(web("GET", "/auth", token=tool["token"]))


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize(
    "path", ["/auth", "/auth/", "/auth/any/", "/auth/any/a/1?scope=none&x=%zz"]
)
def test_any_method_and_any_path_of_a_client(web: Web, made: JSON, method: str, path: str) -> None:
    assert web(method, path, token=made["token"], content=b"body").status_code == 200
    refused = web(method, path, token="harn_sess_" + "A" * 43)
    assert (refused.status_code, is_nobody(refused)) == (401, True)


SPELLINGS = [
    *("/auth/?scope=admin", "/auth//?scope=admin", "//auth?scope=admin", "/auth/./?scope=admin"),
    *("/auth/any?scope=admin", "/auth/anything/?scope=admin", "/auth/ANY/?scope=admin"),
    *("/auth%3Fscope=admin", "/auth/%3Fscope=admin", "/auth%2F?scope=admin", "/%61uth?scope=admin"),
    *("/auth;scope=admin", "/auth/scope=admin", "/auth/x/../any/?scope=admin", "/AUTH?scope=admin"),
    *("/auth?&scope=admin", "/auth?%73cope=admin", "/auth?scope=%61dmin", "/auth?scope=read+admin"),
    *("/auth??scope=admin", "/auth?scope=read;scope=admin", "/auth?scope%5B%5D=admin"),
    *(
        "/auth#?scope=admin",
        "/auth?#scope=admin",
        "/auth/any/#?scope=admin",
        "/auth/any%3Fscope=admin",
    ),
]


@pytest.mark.parametrize("target", SPELLINGS)
def test_no_spelling_of_a_requirement_is_no_requirement(
    served: Served, key: str, target: str
) -> None:
    """Whichever way the service reads it: at once, or with the framework."""
    token = served.create(key, attributes={"scope": "read"})["token"]
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    for more in ("", "Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n"):
        with socket.create_connection(served.address, PATIENCE_SECONDS) as connection:
            connection.sendall(f"{head}{more}\r\n".encode())
            status = int(connection.recv(12)[-3:])
        assert status in (400, 401, 403, 404), more


def test_a_path_that_only_begins_alike_is_another(web: Web, made: JSON) -> None:
    assert web("GET", "/authority", token=made["token"]).status_code == 404


def test_what_has_nothing_to_say_is_empty(web: Web) -> None:
    token = web.create("alice")["token"]
    told = identity(web("GET", "/auth", token=token))
    assert (told["x-auth-scope"], told["x-auth-client-id"], told["x-auth-username"]) == ("",) * 3


def test_a_cookie_will_do_where_there_is_no_header(web: Web, made: JSON) -> None:
    cookie = {"Cookie": f"a=b; {COOKIE}={made['token']}; c=d", "X-Original-Method": "GET"}
    assert web("GET", "/auth", token="", headers=cookie).status_code == 200
    wrong = {"Cookie": f"{COOKIE}x={made['token']}", "X-Original-Method": "GET"}
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
        ("max_auth_age=3600&max_auth_age=3600", 403),
        ("max_auth_age=3600&max_auth_age=999999999", 403),
        ("max_auth_age=%D9%A3", 403),
        ("max_auth_age=0", 403),
        ("scope=", 403),
        ("scope=%22", 403),
        ("nonsense=1", 403),
        ("SCOPE=read", 403),
        ("scope%3Dread", 403),
        ("&", 403),
        ("?scope=read", 403),
    ],
)
@pytest.mark.parametrize("path", ["/auth", "/auth/"])
def test_more_may_be_required(web: Web, made: JSON, path: str, query: str, status: int) -> None:
    answer = web("GET", f"{path}?{query}", token=made["token"])
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
    assert (answer.status_code, is_nobody(answer)) == (503, True)
    assert answer.headers["retry-after"] == "1"
    assert web("GET", "/auth", token="").status_code == 401, "which needs no ledger"


# Forged requests

FROM: dict[str, dict[str, str]] = {
    "nginx": {"Host": HOST},
    "caddy": {"Host": HOST, "X-Forwarded-Host": HOST, "X-Forwarded-Proto": "https"},
    "traefik": {"Host": "127.0.0.1:8420", "X-Forwarded-Host": HOST, "X-Forwarded-Proto": "https"},
}
METHOD = {"nginx": "X-Original-Method", "caddy": "X-Forwarded-Method"}


def asked(web: Web, made: JSON, path: str = "/auth", **told: str) -> int:
    """What is answered to a browser's cookie."""
    headers = {"Host": HOST, **{name.replace("_", "-"): value for name, value in told.items()}}
    headers["Cookie"] = f"{COOKIE}={made['token']}"
    answer = web("GET", path, token="", headers=headers)
    if answer.status_code == 403:
        assert answer.json()["code"] == "cross_site"
        assert "Authorization: Bearer" in answer.json()["detail"]
        assert is_nobody(answer)
    return answer.status_code


@pytest.mark.parametrize("proxy", FROM)
@pytest.mark.parametrize("case", [case for case in OURS if "trusted" not in case])
def test_a_page_of_this_site_may_change_something(
    web: Web, made: JSON, proxy: str, case: str
) -> None:
    method = {METHOD.get(proxy, "X-Forwarded-Method"): "POST"}
    assert asked(web, made, **FROM[proxy], **OURS[case], **method) == 200


@pytest.mark.parametrize("proxy", FROM)
@pytest.mark.parametrize("case", THEIRS)
def test_a_page_of_another_site_may_not(web: Web, made: JSON, proxy: str, case: str) -> None:
    name = METHOD.get(proxy, "X-Forwarded-Method")
    for method in ("POST", "PUT", "post", "get", "QUERY", ""):
        assert asked(web, made, **FROM[proxy], **THEIRS[case], **{name: method}) == 403
    assert asked(web, made, **FROM[proxy], **THEIRS[case], **{name: "GET"}) == 200
    handshake = {name: "GET", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    assert asked(web, made, **FROM[proxy], **THEIRS[case], **handshake) == 403


def test_a_method_that_no_proxy_hands_over_is_not_safe(web: Web, made: JSON) -> None:
    assert asked(web, made) == 403
    assert asked(web, made, Sec_Fetch_Site="cross-site") == 403
    assert asked(web, made, Sec_Fetch_Site="same-origin") == 200
    answer = web("GET", "/auth", token="", headers={"Cookie": f"{COOKIE}={made['token']}"})
    assert "X-Original-Method" in answer.json()["detail"]
    assert web("GET", "/auth", token=made["token"]).status_code == 200, "a bearer needs none"


def test_of_several_methods_each_has_to_be_safe(web: Web, made: JSON) -> None:
    assert asked(web, made, X_Original_Method="GET", X_Forwarded_Method="POST") == 403
    assert asked(web, made, X_Original_Method="POST", X_Forwarded_Method="GET") == 403
    assert asked(web, made, X_Original_Method="GET, POST") == 403
    assert asked(web, made, X_Original_Method="GET", X_Forwarded_Method="HEAD") == 200


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 403)])
def test_below_any_the_method_is_the_clients_own(
    web: Web, made: JSON, method: str, status: int
) -> None:
    headers = {"Cookie": f"{COOKIE}={made['token']}"}
    path = "/auth/any/orders?x=y"
    assert web(method, path, token="", headers=headers).status_code == status
    told = headers | {"X-Forwarded-Method": "GET"}
    assert web(method, path, token="", headers=told).status_code == status
    told = headers | {"X-Forwarded-Method": "POST"}
    assert web(method, path, token="", headers=told).status_code == 403


@pytest.mark.parametrize(
    ("cookie", "proto", "origin", "status"),
    [
        ("session", "https", "https://app.test", 200),
        ("session", "wss", "https://app.test", 200),
        ("session", "http", "http://app.test", 200),
        ("session", "https", "http://app.test", 403),
        ("session", "http", "https://app.test", 403),
        ("session", "https, http", "https://app.test", 403),
        ("session", None, "http://app.test", 403),
        ("__Secure-session", None, "https://app.test", 200),
        ("__Host-session", "http", "https://app.test", 200),
        ("__Host-session", "http", "http://app.test", 403),
        ("__host-session", "http", "http://app.test", 403),
    ],
)
def test_the_scheme_is_the_browsers(
    cookie: str, proto: str | None, origin: str, status: int
) -> None:
    with Web(create_app(structs.replace(SETTINGS, cookie=cookie))) as web:
        made = web.create("alice")
        headers = {"Cookie": f"{cookie}={made['token']}", "X-Original-Method": "POST"}
        headers |= {"Host": "app.test", "Origin": origin}
        headers |= {} if proto is None else {"X-Forwarded-Proto": proto}
        assert web("GET", "/auth", token="", headers=headers).status_code == status


def test_an_anonymous_session_passes_only_where_that_is_asked_for(web: Web) -> None:
    visitor = web.create("anonymous:", attributes={"scope": "read"})
    assert visitor["principal"].startswith("anonymous:")
    for refusing in ("/auth", "/auth/", "/auth?scope=read", "/auth/any/x?anonymous=allowed"):
        answer = web("GET", refusing, token=visitor["token"])
        assert (answer.status_code, answer.headers["x-auth-principal"]) == (401, "")
    passed = web("GET", "/auth?anonymous=allowed&scope=read", token=visitor["token"])
    assert passed.status_code == 200
    assert passed.headers["x-auth-principal"] == quote(visitor["principal"], safe="")
    assert (
        web("GET", "/auth?anonymous=allowed&scope=write", token=visitor["token"]).status_code == 403
    )
    assert web("GET", "/auth?anonymous=yes", token=visitor["token"]).status_code == 403
    somebody = web.create("alice")
    assert web("GET", "/auth?anonymous=allowed", token=somebody["token"]).status_code == 200


def test_settings_trust_other_sites_by_name() -> None:
    trusting = structs.replace(SETTINGS, trusted_origins=("https://pages.test",))
    with Web(create_app(trusting)) as web:
        made = web.create("alice")
        for case in OURS:
            assert asked(web, made, X_Original_Method="POST", **OURS[case]) == 200
        for case in THEIRS:
            assert asked(web, made, X_Original_Method="POST", **THEIRS[case]) == 403
    with Web(create_app(structs.replace(SETTINGS, cross_site_cookies=True))) as web:
        made = web.create("alice")
        for case in THEIRS:
            assert asked(web, made, X_Original_Method="POST", **THEIRS[case]) == 200
    for wrong in ("pages.test", "https://pages.test/", "*"):
        with pytest.raises(ValueError, match="trusted_origins must be origins"):
            structs.replace(SETTINGS, trusted_origins=(wrong,))


@given(st.binary(max_size=40), st.binary(max_size=40), st.text(max_size=20), st.binary(max_size=20))
def test_whatever_comes_is_answered_by_one_of_four(
    authorization: bytes, cookie: bytes, path: str, query: bytes
) -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/auth" + path,
        "query_string": query,
        "headers": [(b"authorization", authorization), (b"cookie", cookie)],
    }
    assert answered(scope) in (401, 403, 503)


def answered(scope: JSON) -> int:
    """The status that the endpoint answers by itself, with a ledger that is not open."""
    statuses: list[int] = []

    async def nothing() -> Message:
        raise AssertionError("a body is not looked at")

    async def send(message: Message) -> None:
        statuses.append(message.get("status", 0))

    async def run() -> None:
        service = Service(SETTINGS, RequestMetrics(["x"]))
        endpoint = ForwardAuth(service)
        scope[COUNT] = RequestCount(service.limits, None, scope["headers"])
        await as_application(endpoint)(scope, nothing, send)

    asyncio.run(run())
    return statuses[0]
