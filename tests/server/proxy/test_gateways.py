"""docs/gateways.md: each gateway lets in whom it should, and says whom."""

from __future__ import annotations

import json
import posixpath
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from sessionledger import SessionStore
from sessionledger.server import Settings
from sessionledger.testing.fixtures import until
from tests import postgres_server
from tests.caching_proxy import CACHE
from tests.server.proxy.gateways import COMMANDS, FILES, Gateway, application, running
from tests.server.served import PATIENCE_SECONDS, Served, command, free_port, make_key

pytestmark = pytest.mark.middle

EXAMPLES = Path(__file__).parents[3] / "examples" / "http"
COOKIE = "__Host-session"
FORGED = [
    *(("X-Auth-Principal", "root"), ("x-auth-principal", "root"), ("X_Auth_Principal", "root")),
    *(("X-Auth-Scope", "admin"), ("X_Auth_Scope", "admin"), ("X_AUTH-SCOPE", "admin")),
    *(("X-Auth-Username", "root"), ("X_Auth_Username", "root"), ("X-Auth_Username", "root")),
    *(("X-Auth-Delegated-By", "root"), ("X_Auth_Delegated_By", "root")),
]


@pytest.fixture(scope="module")
def behind() -> Iterator[int]:
    with application() as port:
        yield port


@pytest.fixture(scope="module", params=COMMANDS)
def gateway(
    request: pytest.FixtureRequest,
    served: Served,
    behind: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway") / request.param
    with running(request.param, folder, served.address[1], behind) as gateway:
        yield gateway


def bearer(made: dict[str, Any]) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {made['token']}")]


def cookie(made: dict[str, Any], **more: str) -> list[tuple[str, str]]:
    told = [(name.replace("_", "-"), value) for name, value in more.items()]
    return [("Cookie", f"a=b; {COOKIE}={made['token']}"), *told]


def told(answer: httpx.Response) -> dict[str, list[str]]:
    """The headers that the application got, by the names that CGI gives them."""
    assert answer.status_code == 200, answer.text
    found: dict[str, list[str]] = {}
    for name, value in answer.json()["headers"]:
        found.setdefault(name.upper().replace("-", "_"), []).append(value)
    return found


def test_every_file_of_the_page_is_used() -> None:
    assert {*FILES} == {
        *("session.conf", "ask.conf", "nginx.conf", "Caddyfile", "traefik.yml", "session.yml"),
        *("envoy.yaml", "session.lua", "haproxy.cfg"),
    }


def test_whoever_has_a_session_passes_with_it(gateway: Gateway, served: Served, key: str) -> None:
    made = served.create(key, "users/alice é%2F", attributes={"scope": "a b", "username": "é\r\n"})
    for headers in (bearer(made), cookie(made)):
        answer = gateway("GET", "/orders/1", headers)
        found = told(answer)
        assert [unquote(one) for one in found["X_AUTH_PRINCIPAL"]] == ["users/alice é%2F"]
        assert found["X_AUTH_HANDLE"] == [made["handle"].replace(":", "%3A")]
        assert [unquote(one) for one in found["X_AUTH_SCOPE"]] == ["a b"]
        assert [unquote(one) for one in found["X_AUTH_USERNAME"]] == ["é\r\n"]
        assert found.get("AUTHORIZATION", [""]) == [""]
    assert gateway("POST", "/orders", bearer(made), b"x" * 100_000).status_code == 200


def test_whose_child_passes_is_told(gateway: Gateway, served: Served, key: str) -> None:
    agent = served.create(key, "agent é,", parent=served.create(key)["token"])
    tool = served.create(key, "tool", parent=agent["token"])
    for headers in (bearer(tool), [*FORGED, *bearer(tool)]):
        found = told(gateway("GET", "/orders", headers))
        assert found["X_AUTH_DELEGATED_BY"] == ["agent%20%C3%A9%2C,alice"]
    forged = told(gateway("GET", "/orders", [*FORGED, *bearer(agent)]))
    assert forged["X_AUTH_DELEGATED_BY"] == ["alice"]
    forged = told(gateway("GET", "/orders", [*FORGED, *bearer(served.create(key))]))
    assert forged.get("X_AUTH_DELEGATED_BY", [""]) == [""]


@pytest.mark.parametrize(
    "query", ["x=y", "scope=admin", "max_auth_age=1&max_auth_age=2", "a=%zz&b=%20?/&", "%00"]
)
def test_the_query_is_the_applications(
    gateway: Gateway, served: Served, key: str, query: str
) -> None:
    made = served.create(key)
    answer = gateway("GET", f"/orders?{query}", bearer(made))
    told(answer)
    assert answer.json()["path"] == f"/orders?{query}"


def test_whoever_has_none_does_not(gateway: Gateway, served: Served, key: str) -> None:
    for headers in ([], bearer({"token": "harn_sess_" + "A" * 43}), cookie({"token": "x"})):
        answer = gateway("GET", "/orders?scope=", headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Bearer realm="sessionledger"')
    made = served.create(key)
    twice = [*bearer(made), *bearer({"token": "harn_sess_" + "A" * 43})]
    answer = gateway("GET", "/orders", twice)
    assert answer.status_code in (400, 401) or told(answer)["X_AUTH_PRINCIPAL"] == ["alice"]


def test_nobody_says_who_they_are(gateway: Gateway, served: Served, key: str) -> None:
    """With the headers of others: spelled otherwise, twice, where there is nothing to say."""
    made = served.create(key, "alice")
    for path in ("/orders", "/pages/1", "/socket"):
        found = told(gateway("GET", path, [*FORGED, *bearer(made), *FORGED]))
        assert found["X_AUTH_PRINCIPAL"] == ["alice"]
        assert found.get("X_AUTH_SCOPE", [""]) == [""]
        assert found.get("X_AUTH_USERNAME", [""]) == [""]
    assert gateway("GET", "/orders", FORGED).status_code == 401
    spelled = [one for one in FORGED if gateway.name != "traefik" or "_" not in one[0]]
    found = told(gateway("GET", "/login", spelled))
    assert {value for name in found if name.startswith("X_AUTH_") for value in found[name]} <= {""}


def test_large_headers_pass(gateway: Gateway, served: Served, key: str) -> None:
    made = served.create(key, attributes={"username": "é" * 1000})
    large = [("X-Large", "x" * 3000)]
    assert (
        unquote(told(gateway("GET", "/", [*bearer(made), *large]))["X_AUTH_USERNAME"][0])[0] == "é"
    )
    made = served.create(key)
    many = [("Cookie", f"large={'x' * 6000}; {COOKIE}={made['token']}"), *large]
    assert told(gateway("GET", "/", many))["X_AUTH_PRINCIPAL"] == ["alice"]


def test_a_scope_can_be_required(gateway: Gateway, served: Served, key: str) -> None:
    """Envoy appends the client's path: the application checks the header, as the page says."""
    plain, admin = served.create(key), served.create(key, attributes={"scope": ["admin", "x"]})
    assert told(gateway("GET", "/admin/?scope=x", bearer(admin)))["X_AUTH_SCOPE"] == ["admin%20x"]
    answer = gateway("GET", "/admin/?scope=x", bearer(plain))
    if gateway.name == "envoy":
        assert told(answer).get("X_AUTH_SCOPE", [""]) == [""]
    else:
        assert answer.status_code == 403


def test_pages_redirect_to_the_log_in(gateway: Gateway, served: Served, key: str) -> None:
    answer = gateway("GET", "/pages/1?a=b")
    assert answer.status_code in (302, 303)
    assert answer.headers["location"].removeprefix(gateway.origin).startswith("/login")
    assert gateway("GET", "/login").status_code == 200
    assert gateway("GET", "/pages/1", cookie(served.create(key))).status_code == 200


def test_a_page_of_another_site_changes_nothing(gateway: Gateway, served: Served, key: str) -> None:
    made = served.create(key)
    own = {"Origin": gateway.origin.replace("http:", "https:")}
    evil = {"Origin": "https://evil.test", "Sec_Fetch_Site": "cross-site"}
    for headers in (own, {"Sec_Fetch_Site": "same-origin"}):
        assert gateway("POST", "/orders", cookie(made, **headers), b"x").status_code == 200
    for headers in ({}, evil, {"Origin": gateway.origin}):
        for path in ("/orders", "/orders?_method=GET", "/socket"):
            answer = gateway("POST", path, cookie(made, **headers), b"x")
            assert answer.status_code == 403, (path, headers)
        assert gateway("DELETE", "/orders", cookie(made, **headers)).status_code == 403
        assert gateway("GET", "/orders", cookie(made, **headers)).status_code == 200
        assert gateway("POST", "/orders", [*bearer(made), *headers.items()]).status_code == 200


def test_a_preflight_is_the_applications_to_answer(
    gateway: Gateway, served: Served, key: str
) -> None:
    """Browsers send none of their credentials with it."""
    preflight = [("Origin", "https://pages.test"), ("Access-Control-Request-Method", "PUT")]
    for path in ("/orders", "/admin/", "/pages/1"):
        spelled = [one for one in FORGED if gateway.name != "traefik" or "_" not in one[0]]
        found = told(gateway("OPTIONS", path, [*preflight, *spelled]))
        assert found["ORIGIN"] == ["https://pages.test"]
        values = {value for name in found if name.startswith("X_AUTH_") for value in found[name]}
        assert values <= {""}
        for lacking in ([], preflight[:1], preflight[1:]):
            assert gateway("OPTIONS", path, lacking).status_code != 200
        for method in ("GET", "POST", "DELETE"):
            assert gateway(method, path, preflight).status_code != 200


def handshake(gateway: Gateway, headers: list[tuple[str, str]]) -> tuple[int, bytes]:
    """The status of the answer to a WebSocket's handshake, and what it repeats."""
    lines = [
        *("GET /socket HTTP/1.1", "Host: {}:{}".format(*gateway.address)),
        *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
        *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *(f"{n}: {v}" for n, v in headers)),
    ]
    with socket.create_connection(gateway.address, PATIENCE_SECONDS) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        file = connection.makefile("rb")
        status = int(file.readline().split()[1])
        while status == 101 and file.readline().strip():
            pass
        if status != 101:
            return status, b""
        connection.sendall(b"\x81\x85\0\0\0\0hello")
        return status, file.read(11)


def test_a_websocket_passes_and_no_page_of_another_site_opens_one(
    gateway: Gateway, served: Served, key: str
) -> None:
    made = served.create(key)
    repeated = (101, b"\x81\x85\0\0\0\0hello")
    assert handshake(gateway, bearer(made)) == repeated
    own = gateway.origin.replace("http:", "https:")
    assert handshake(gateway, cookie(made, Origin=own)) == repeated
    assert handshake(gateway, cookie(made, Origin="https://evil.test"))[0] == 403
    assert handshake(gateway, [])[0] == 401


def test_a_revocation_by_another_process_shuts_the_door(
    gateway: Gateway, served: Served, folder: Path, key: str
) -> None:
    made = served.create(key)
    assert gateway("GET", "/orders", bearer(made)).status_code == 200
    command(folder, "revoke", "--handle", made["handle"])
    answer = gateway("GET", "/orders", bearer(made))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("name", COMMANDS)
def test_without_the_service_the_answer_is_503(name: str, behind: int, tmp_path: Path) -> None:
    with running(name, tmp_path / name, free_port(), behind) as gateway:
        for path in ("/orders", "/pages/1"):
            for headers in ([], bearer({"token": "harn_sess_" + "A" * 43})):
                answer = gateway("GET", path, headers)
                assert answer.status_code == 503
        assert answer.headers.get("retry-after", "1") == "1"


@pytest.mark.parametrize("name", COMMANDS)
def test_without_the_ledger_the_answer_is_503(name: str, behind: int, tmp_path: Path) -> None:
    """A PostgreSQL server that goes away, and comes back."""
    away = postgres_server.socket_path()
    place = tmp_path / away.name
    place.symlink_to(away)
    url = postgres_server.by_socket(tmp_path)
    with SessionStore.open(url) as store:
        made = {"token": store.create("alice").token}
    with (
        Served(tmp_path, "--ledger", url, "--no-access-log") as served,
        running(name, tmp_path / name, served.address[1], behind) as gateway,
    ):
        assert gateway("GET", "/orders", bearer(made)).status_code == 200
        place.unlink()
        postgres_server.end_connections()
        answer = gateway("GET", "/orders", bearer(made))
        assert (answer.status_code, answer.headers.get("retry-after", "1")) == (503, "1")
        assert gateway("GET", "/orders").status_code == 401, "which needs no ledger"
        place.symlink_to(away)
        assert gateway("GET", "/orders", bearer(made)).status_code == 200


@pytest.mark.parametrize("name", COMMANDS)
def test_limits_hold_for_each_client_of_a_gateway(name: str, behind: int, tmp_path: Path) -> None:
    """Whatever address a client invents."""
    invented = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1", "Via": "1.1 x"}
    rates = ("--principal-requests-per-minute", "20", "--address-requests-per-minute", "20")
    key = make_key(tmp_path, "app")
    with (
        Served(tmp_path, "--trusted-proxies", "127.0.0.1", *rates) as served,
        running(name, tmp_path / name, served.address[1], behind) as gateway,
    ):
        made = [dict(bearer(served.create(key, principal))) for principal in ("mallory", "alice")]
        refused = 503 if name == "nginx" else 429

        def statuses(headers: dict[str, str], by: str, count: int = 60) -> list[int]:
            answers = [gateway("GET", "/orders", invented | headers, by=by) for _ in range(count)]
            assert answers[-1].status_code == 200 or "retry-after" in answers[-1].headers
            return [answer.status_code for answer in answers]

        guessing = dict(bearer({"token": "harn_sess_" + "A" * 43}))
        assert {*statuses(guessing, "127.0.0.2")} == {401, refused}
        assert gateway("GET", "/orders", guessing, by="127.0.0.3").status_code == 401
        assert {*statuses(made[0], "127.0.0.2")} == {200, refused}
        assert statuses(made[0], "127.0.0.3", 1) == [refused]
        assert statuses(made[1], "127.0.0.2", 1) == [200]
        assert served.stop() == 0
        served.rest()
    clients = {line["client"] for line in served.requests() if line["route"] == "/auth"}
    assert {"127.0.0.2", "127.0.0.3"} <= clients <= {f"127.0.0.{n}" for n in (1, 2, 3)}


def test_gateways_give_up_an_idle_connection_before_the_service_does() -> None:
    assert "idle_timeout: 60s" in FILES["envoy.yaml"]
    assert Settings().keep_alive.total_seconds() > 120, "as long as Caddy keeps one"


def test_envoy_closes_an_idle_connection_to_the_service_by_itself(
    tmp_path: Path, behind: int
) -> None:
    """So no request of it meets a connection that the service is just closing."""
    key = make_key(tmp_path, "root")
    with (
        Served(tmp_path) as served,
        running("envoy", tmp_path / "envoy", served.address[1], behind, idle="0.3s") as gateway,
    ):
        made = served.create(key)
        served.client.close()
        with httpx.Client(base_url=gateway.origin, headers=bearer(made)) as client:
            for _ in range(3):
                assert client.get("/orders").status_code == 200
                until(lambda: not established(served.address[1]))


def established(port: int) -> int:
    """How many connections to a port of this machine are open at both ends (`tcp(7)`)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_the_example_reads_what_a_gateway_tells(served: Served, key: str, tmp_path: Path) -> None:
    """behind_gateway.py, behind an nginx that stores whatever it may, answers of `/auth` too."""
    port = free_port()
    arguments = ["-m", "uvicorn", "--port", str(port), "--log-level", "error", "behind_gateway:app"]
    example = subprocess.Popen([sys.executable, *arguments], cwd=EXAMPLES)
    try:
        with running("nginx", tmp_path / "nginx", served.address[1], port, CACHE) as gateway:
            for name in ("alice é", "bob"):
                made = served.create(key, name, attributes={"scope": "a b"})
                principal = {"principal": name, "handle": made["handle"], "scopes": ["a", "b"]}
                for headers in ([*bearer(made), *FORGED], cookie(made)):
                    assert gateway("GET", "/orders/1?x=y", headers).json() == principal
                assert gateway("GET", "/orders/1?x=y", FORGED).status_code == 401
    finally:
        example.terminate()
        example.wait(PATIENCE_SECONDS)


@pytest.mark.parametrize(
    "path",
    [
        *("/%61dmin/", "/admin%2F", "//admin/", "/./admin/", "/x/../admin/", "/x/%2e%2e/admin/"),
        *("/%2e/admin/", "/x%2F..%2Fadmin/", "/%61dmin/x?y", "/;/admin/", "/\\admin/"),
    ],
)
def test_no_spelling_of_a_path_opens_it(
    gateway: Gateway, served: Served, key: str, path: str
) -> None:
    """What an application takes for `/admin/` needs the scope, however the client spells it."""
    if gateway.name == "envoy":
        return
    token = served.create(key)["token"]
    connection = HTTPConnection(*gateway.address, timeout=PATIENCE_SECONDS)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status == 200:
        passed = unquote(json.loads(body)["path"].partition("?")[0])
        assert not posixpath.normpath(passed).lstrip("/").startswith("admin"), passed
    connection.close()
