"""nginx with a cache in front of the service: it stores none of its answers."""

from __future__ import annotations

import pytest

from tests.caching_proxy import cached
from tests.server.proxy.gateways import application
from tests.server.served import Served

pytestmark = pytest.mark.middle


def test_nginx_with_a_cache_gives_nobody_the_answer_of_another(served: Served, key: str) -> None:
    port = served.address[1]
    users = {name: served.create(key, name) for name in ("alice", "bob")}
    for _ in range(2):
        for name, made in users.items():
            bearer = [("Authorization", f"Bearer {made['token']}")]
            cookie = [("Cookie", f"__Host-session={made['token']}"), ("X-Original-Method", "GET")]
            assert cached(port, "/v1/session", bearer).json()["principal"] == name
            for headers in (bearer, cookie):
                assert cached(port, "/auth", headers).headers["x-auth-principal"] == name
        assert cached(port, "/v1/session").status_code == 401
        assert cached(port, "/auth").status_code == 401


def test_nginx_with_a_cache_stores_no_answer(served: Served, key: str) -> None:
    port, made = served.address[1], served.create(key)
    bearer, admin = ([("Authorization", f"Bearer {token}")] for token in (made["token"], key))
    one = f"/v1/sessions/{made['handle']}"
    asked = [
        *(("/v1/session", bearer), ("/auth", bearer), ("/healthz", []), ("/readyz", [])),
        *((path, admin) for path in (one, "/v1/sessions", "/v1/stats")),
        *((path, []) for path in (one, "/v1/session", "/auth", "/metrics", "/openapi.json")),
        *((f"/v1/{name}?principal=alice", admin) for name in ("sessions", "history", "nothing")),
        (f"/v1/history/{made['handle']}", admin),
    ]
    for path, headers in [*asked, *asked]:
        assert cached(port, path, headers).headers["X-Cache"] == "MISS", path
    with application() as other:
        told = [cached(other, "/", admin).headers["X-Cache"] for _ in range(2)]
    assert told == ["MISS", "HIT"], "it stores what it may"
