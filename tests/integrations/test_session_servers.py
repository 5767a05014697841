"""The frameworks' own sessions over real servers, two of them on one ledger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessionledger import SessionStore
from tests.integrations.processes import ledger_in, served

APP = "tests.integrations.apps.own_session_app"
SERVERS = {
    "flask": ("gunicorn", f"{APP}:flask_app()", "--workers", "2"),
    "flask-threads": ("gunicorn", f"{APP}:flask_app()", "--preload", "--threads", "4"),
    "starlette": ("uvicorn", f"{APP}:starlette_app", "--factory"),
    "litestar": ("uvicorn", f"{APP}:litestar_app", "--factory"),
}


def ask(client: httpx.Client, token: str | None, query: str = "") -> tuple[Any, str | None]:
    """What the application says, and the token that it sends."""
    headers = {} if token is None else {"Cookie": f"session={token}"}
    answer = client.get(f"/?{query}", headers=headers)
    client.cookies.clear()
    assert answer.status_code == 200, answer.text
    cookie = answer.headers.get("set-cookie", "").partition(";")[0].partition("=")[2]
    return answer.json(), cookie or None


@pytest.mark.middle
@pytest.mark.parametrize("name", SERVERS)
def test_two_servers_share_the_session_of_a_browser(name: str, tmp_path: Path) -> None:
    server, app, *options = SERVERS[name]
    with ExitStack() as stack:
        store = stack.enter_context(SessionStore.open(ledger_in(tmp_path)))
        one, other = (
            stack.enter_context(served(server, app, tmp_path, *options)) for _ in range(2)
        )
        assert ask(one, None) == ({"data": {}, "principal": None}, None)
        _, visitor = ask(one, None, "put=basket")
        assert ask(other, visitor)[0]["data"] == {"basket": 1}
        _, token = ask(other, visitor, "user=alice")
        assert token not in (None, visitor)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: ask((one, other)[n % 2], token, f"put=name{n}"), range(20)))
        told, _ = ask(one, token)
        assert told["principal"] == "alice"
        assert told["data"].keys() == {"basket", *(f"name{n}" for n in range(20))}
        assert ask(one, visitor)[0]["data"] == {}
        assert store.revoke_all("alice", reason="by a third process") == 1
        for client in (one, other):
            assert ask(client, token)[0] == {"data": {}, "principal": None}
