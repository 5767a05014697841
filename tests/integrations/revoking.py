"""A revocation by another process shuts the door on the very next request."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import httpx

from sessionledger import SessionStore
from tests.integrations.conformance import INVALID
from tests.integrations.processes import ledger_in, served
from tests.integrations.site import COOKIE, OWN

MOST_TRIES = 500


def required(client: httpx.Client, token: str, method: str = "GET") -> tuple[int, str | None]:
    cookie = {"Cookie": f"{COOKIE}={token}"}
    answer = client.request(method, "/required", headers=OWN | cookie)
    return answer.status_code, answer.headers.get("www-authenticate")


def log_in(client: httpx.Client) -> str:
    """The token that a log in gives to a browser; it stays with who asked."""
    answer = client.post("/login?principal=alice", headers=OWN)
    assert answer.status_code == 200, answer.text
    client.cookies.clear()
    return answer.headers["set-cookie"].partition(";")[0].removeprefix(f"{COOKIE}=")


def check_two_servers(server: str, app: str, folder: Path, *options: str) -> None:
    """Two servers, and this process, on one ledger."""
    with ExitStack() as stack:
        store = stack.enter_context(SessionStore.open(ledger_in(folder)))
        one, other = (stack.enter_context(served(server, app, folder, *options)) for _ in range(2))
        token = log_in(one)
        assert required(one, token) == required(other, token, "POST") == (200, None)
        left = other.post("/logout", headers=OWN | {"Cookie": f"{COOKIE}={token}"})
        assert left.status_code == 200
        assert required(one, token) == required(other, token) == (401, INVALID)
        token = log_in(other)
        assert required(one, token) == (200, None)
        assert store.revoke_all("alice", reason="by a third process") == 1
        assert required(one, token) == required(other, token) == (401, INVALID)


def check_forked_workers(app: str, folder: Path, *options: str) -> None:
    """A server that loads the application, opens its ledger, and forks two workers."""
    forking = ("--preload", "--workers", "2", *options)
    with (
        SessionStore.open(ledger_in(folder)) as store,
        served("gunicorn", app, folder, *forking) as client,
    ):
        workers: set[str] = set()
        tokens: list[str] = []
        while len(workers) < 2:
            assert len(tokens) < MOST_TRIES, "one worker answers all"
            # A connection each, so that either of them may take it.
            answer = client.get("/worker", headers={"Connection": "close"})
            workers.add(answer.text)
            tokens.append(log_in(client))
        assert {required(client, token) for token in tokens} == {(200, None)}
        assert store.revoke_all("alice") == len(tokens)
        for _ in range(4):
            assert {required(client, token)[0] for token in tokens} == {401}
