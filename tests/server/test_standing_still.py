"""A ledger that stands still: requests are answered in time, and nothing piles up meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import apsw
import pytest

from sessionledger.testing.fixtures import until
from tests import postgres_server
from tests.cli.running import Line
from tests.logs.stopped_writer import stopped_writer
from tests.server.served import PATIENCE_SECONDS, Served, command, make_key

AT_A_TIME = 250
ROUNDS = 4
OPTIONS = ("--request-timeout", "1s", "--stop-timeout", "1s", "--no-access-log")
MOST_THREADS = 40
"""Those of the event loop and the log writer, 16 to read, one to commit, and asyncio's own."""


def request(method: str, path: str, token: str, form: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
    if form:
        head += f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(form)}"
        head += "\r\n"
    return f"{head}connection: close\r\n\r\n{form}".encode()


def asked(served: Served, *requests: bytes) -> Counter[int]:
    """How often each status came back: each request from a client of its own, all at once."""

    async def ask(sent: bytes) -> int:
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
        return int(answer.split()[1])

    async def all_at_once() -> list[int]:
        return await asyncio.gather(*map(ask, requests))

    return Counter(asyncio.run(all_at_once()))


def threads(served: Served) -> int:
    return len(list(Path(f"/proc/{served.process.pid}/task").iterdir()))


def open_files(served: Served) -> int:
    return len(list(Path(f"/proc/{served.process.pid}/fd").iterdir()))


def outlast(served: Served, requests: list[bytes], go_on: Callable[[], object]) -> None:
    """Four times 250 requests that time out; then the ledger goes on."""
    before = open_files(served)
    for _ in range(ROUNDS):
        told = asked(served, *(requests[n % len(requests)] for n in range(AT_A_TIME)))
        assert set(told) <= {403, 503}, told
        assert threads(served) < MOST_THREADS
    assert served.call("GET", "/readyz").status_code == 503
    assert served.call("GET", "/healthz").status_code == 200
    # A connection to the server for each thread, at most, and the clients' are gone.
    until(lambda: open_files(served) < before + MOST_THREADS)
    go_on()


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        _send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            _send(pid, signal.SIGCONT)


def _send(pid: int, told: signal.Signals) -> None:
    """Tell a process of a server, which may just be ending: its parent then takes it away."""
    with suppress(ProcessLookupError):
        os.kill(pid, told)


def family_of(pid: int) -> list[int]:
    """A process and those that it began, the first one first."""
    begun = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in begun)]


def postmaster() -> int:
    data = Path(postgres_server.execute("SHOW data_directory")[0][0])
    return int((data / "postmaster.pid").read_text().split()[0])


@pytest.mark.slow
def test_a_stopped_postgresql_server_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres_server.use_a_server_apart(monkeypatch)
    url = postgres_server.address(tmp_path)
    scopes = ("--scope", "introspect", "--scope", "sessions:revoke", "--scope", "sessions:create")
    key = command(tmp_path, "keys", "create", "app", *scopes, "--ledger", url)
    token = command(tmp_path, "create", "alice", "--ledger", url)
    requests = [
        request("GET", "/auth", token),
        request("POST", "/introspect", key, f"token={token}"),
        request("POST", "/revoke", key, "token=" + "x" * 40),
        request("GET", "/v1/session", token),
    ]
    with Served(tmp_path, "--ledger", url, *OPTIONS) as served:
        assert set(asked(served, *requests)) == {200}
        server = stopped(family_of(postmaster()))
        server.__enter__()
        outlast(served, requests, lambda: server.__exit__(None, None, None))
        assert set(asked(served, requests[0])) == {200}
        assert set(asked(served, *requests)) == {200}
        assert served.stop() == 0


@pytest.mark.slow
def test_a_held_sqlite_lock_costs_time_and_nothing_else(tmp_path: Path) -> None:
    scopes = (
        "--scope",
        "sessions:revoke",
        "--scope",
        "sessions:create",
        "--scope",
        "sessions:read",
    )
    key = command(tmp_path, "keys", "create", "app", *scopes)
    tokens = [command(tmp_path, "create", f"user{n}") for n in range(2)]
    slide = [request("POST", "/v1/session/slide", token) for token in tokens]
    revoke = [request("POST", "/revoke", key, f"token={token}") for token in tokens]
    with Served(tmp_path, *OPTIONS, "--writes-per-minute", "10000") as served:
        assert set(asked(served, *slide)) == {200}
        holder = apsw.Connection(str(tmp_path / "sessions.db"))
        holder.execute("BEGIN IMMEDIATE")
        outlast(served, slide + revoke, lambda: holder.execute("ROLLBACK"))
        assert set(asked(served, request("GET", "/auth", key))) == {401}
        assert set(asked(served, *revoke)) == {200}
        assert set(asked(served, request("GET", "/auth", tokens[0]))) == {401}
        holder.close()
        assert served.stop() == 0


@pytest.mark.middle
def test_a_write_that_waits_in_vain_is_answered_503_and_when_to_come_again(tmp_path: Path) -> None:
    key = make_key(tmp_path, "app")
    handle = Line(tmp_path).create()[1]
    url = f"sqlite:///{tmp_path}/sessions.db"
    with Served(tmp_path, "--ledger", f"{url}?timeout=200ms") as served:
        revoke = partial(served.call, "DELETE", f"/v1/sessions/{handle}", key)
        with stopped_writer(url) as other:
            answer = revoke()
            assert (answer.status_code, answer.json()["code"]) == (503, "log_timeout")
            assert answer.headers["Retry-After"] == "1"
            assert str(other.pid) not in answer.text
            assert served.call("GET", "/healthz").status_code == 200
            other.resume()
        assert revoke().status_code == 200
        assert served.stop() == 0
        assert f"process {other.pid} " in "".join(served.rest())


@pytest.mark.slow
def test_a_service_whose_ledger_stands_still_ends_when_it_is_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres_server.use_a_server_apart(monkeypatch)
    url = postgres_server.address(tmp_path)
    token = command(tmp_path, "create", "alice", "--ledger", url)
    with (
        Served(tmp_path, "--ledger", url, *OPTIONS) as served,
        stopped(family_of(postmaster())),
    ):
        assert not set(asked(served, request("GET", "/auth", token))) - {403, 503}
        assert served.stop() == 1
        assert "stopped without closing" in served.rest()[-1]
