"""nginx with a cache in front of each integration on a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionledger import SessionStore
from tests.caching_proxy import cached
from tests.integrations.processes import ledger_in, served
from tests.integrations.site import COOKIE, OWN

pytestmark = pytest.mark.middle

APPS = "tests.integrations.apps"
SERVERS = {
    "starlette": ("uvicorn", f"{APPS}.starlette_app:served", "--factory"),
    "fastapi": ("uvicorn", f"{APPS}.fastapi_app:served", "--factory"),
    "litestar": ("uvicorn", f"{APPS}.litestar_app:served", "--factory"),
    "flask": ("gunicorn", f"{APPS}.flask_app:served()"),
    "django": ("gunicorn", f"{APPS}.django_app:served()"),
    "django on a loop": ("uvicorn", f"{APPS}.django_app:served_to_loops", "--factory"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_nginx_with_a_cache_serves_no_users_page_to_another(name: str, tmp_path: Path) -> None:
    server, app, *options = SERVERS[name]
    with (
        SessionStore.open(ledger_in(tmp_path)) as store,
        served(server, app, tmp_path, *options) as client,
    ):
        port = client.base_url.port
        assert port is not None
        hits: list[str] = []

        def ask(path: str, *headers: tuple[str, str]) -> tuple[int, str]:
            answer = cached(port, path, headers)
            hits.extend([path] * (answer.headers["X-Cache"] == "HIT"))
            return answer.status_code, answer.text

        users = {name: store.create(name).token for name in ("alice", "bob")}
        for path in ("/current", "/shared", "/required", "/open") * 2:
            for name, token in users.items():
                page = "open" if path == "/open" else name
                assert ask(path, ("Cookie", f"{COOKIE}={token}")) == (200, page)
                assert ask(path, ("Authorization", f"Bearer {token}")) == (200, page)
            if path in ("/current", "/shared"):
                assert ask(path, ("Cookie", "theme=dark")) == (200, "nobody")
        assert ask("/required")[0] == 401
        assert {*hits} == {"/shared", "/open"}, "which may be stored"
        for token in users.values():
            assert ask("/logout", *OWN.items(), ("Cookie", f"{COOKIE}={token}"))[0] == 200
            assert ask("/required", ("Cookie", f"{COOKIE}={token}"))[0] == 401


def test_nginx_with_a_cache_keeps_djangos_sessions_apart(tmp_path: Path) -> None:
    app = f"{APPS}.django_sessions_app:served()"
    with served("gunicorn", app, tmp_path) as client:
        port, cookies = client.base_url.port, {}
        assert port is not None
        for name in ("alice", "bob"):
            answer = client.get("/put", params={"name": name})
            cookies[name] = answer.headers["set-cookie"].partition(";")[0]
            client.cookies.clear()
        for _ in range(2):
            for name, cookie in cookies.items():
                page = cached(port, "/", [("Cookie", cookie)]).json()
                assert page["session"] == {"name": name}
            assert cached(port, "/").json()["session"] == {}
