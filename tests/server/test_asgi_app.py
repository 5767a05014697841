"""The outermost application: where it is, and which path is asked for."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from tests.server.web import Web

PATHS = [
    *(("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/auth")),
    *(("GET", path) for path in ("/auth/any/x", "/auth/x", "/v1/session", "/v1/sessions", "/none")),
    *(("POST", path) for path in ("/introspect", "/revoke", "/v1/sessions")),
    ("OPTIONS", "/v1/sessions"),
]
PREFIXES = ["/ledger", "/a/b/", "/v1", "/auth"]


def below(web: Web, prefix: str, method: str, path: str, **told: Any) -> httpx.Response:
    """What is answered where the application is mounted at a prefix: ASGI has it in `path`."""
    transport = httpx.ASGITransport(app=web.application, root_path=prefix)
    base = f"http://ledger.test{prefix.rstrip('/')}"
    client = httpx.AsyncClient(transport=transport, base_url=base)
    headers = {"Authorization": f"Bearer {web.key}"}
    return web.run(lambda: client.request(method, path, headers=headers, **told))


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_every_path_is_there_below_a_prefix(web: Web, prefix: str, method: str, path: str) -> None:
    assert below(web, prefix, method, path).status_code == web(method, path).status_code


def test_a_server_may_leave_the_prefix_out_of_the_path(web: Web) -> None:
    transport = httpx.ASGITransport(app=web.application, root_path="/ledger")
    client = httpx.AsyncClient(transport=transport, base_url="http://ledger.test")
    assert web.run(lambda: client.get("/metrics")).status_code == 200


def test_requests_below_a_prefix_are_counted_by_their_route(web: Web) -> None:
    def count() -> int:
        found = re.search(r'seconds_count{route="/revoke"} (\d+)', web("GET", "/metrics").text)
        return int(found[1]) if found else 0

    before = count()
    below(web, "/ledger", "POST", "/revoke")
    assert count() == before + 1


@pytest.mark.parametrize("prefix", ["", "/ledger"])
def test_a_new_session_is_found_where_its_location_says(web: Web, prefix: str) -> None:
    made = below(web, prefix, "POST", "/v1/sessions", json={"principal": "alice"})
    location = made.headers["location"]
    assert location == f"{prefix}/v1/sessions/{made.json()['handle']}"
    found = below(web, prefix, "GET", location.removeprefix(prefix))
    assert found.json()["principal"] == "alice"


@pytest.mark.parametrize(("prefix", "server"), [("", "/"), ("/ledger", "/ledger")])
def test_the_description_says_where_the_service_is(web: Web, prefix: str, server: str) -> None:
    described = json.loads(below(web, prefix, "GET", "/openapi.json").content)
    assert described["servers"] == [{"url": server}]
