"""Several processes on one SQLite ledger."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from sessionledger.testing.fixtures import until
from tests.server.served import COMMAND, PATIENCE_SECONDS, Served, environment, make_key


def children(pid: int) -> list[int]:
    """The processes that a process has begun, by what the system says."""
    told = Path(f"/proc/{pid}/task/{pid}/children")
    if not told.exists():
        pytest.skip("the system does not say who whose child is")
    return [int(child) for child in told.read_text().split()]


def connections(served: Served) -> dict[int, httpx.Client]:
    """A connection to each worker, by the worker's pid: told by which process has its socket."""
    found: dict[int, httpx.Client] = {}
    workers = children(served.process.pid)
    while set(found) != set(workers):
        client = httpx.Client(base_url=served.url, timeout=PATIENCE_SECONDS)
        client.get("/healthz")
        worker = next(pid for pid in workers if port_of(client) in ports_of(pid))
        if worker in found:
            client.close()
        else:
            found[worker] = client
    return found


def port_of(client: httpx.Client) -> int:
    """The local port of the one connection that a client has."""
    (connection,) = client._transport._pool.connections  # type: ignore[attr-defined]
    stream = connection._connection._network_stream
    return int(stream.get_extra_info("client_addr")[1])


def ports_of(pid: int) -> set[int]:
    """The peers' ports of the connections that a process holds."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # The process may close a descriptor while they are listed.
        with suppress(FileNotFoundError):
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].rpartition(":")[2], 16) for row in rows if row[9] in inodes}


def test_a_revocation_through_one_is_seen_by_the_next_request_to_any_other(
    tmp_path: Path,
) -> None:
    key = make_key(tmp_path, "root")
    admin = {"Authorization": f"Bearer {key}"}
    with Served(tmp_path, "--workers", "3", "--no-access-log") as served:
        clients = list(connections(served).values())
        assert len(clients) == 3
        for revoking in clients:
            made = revoking.post("/v1/sessions", json={"principal": "a"}, headers=admin).json()
            bearer = {"Authorization": f"Bearer {made['token']}"}
            assert [c.get("/auth", headers=bearer).status_code for c in clients] == [200] * 3
            revoking.delete(f"/v1/sessions/{made['handle']}", headers=admin)
            assert [c.get("/auth", headers=bearer).status_code for c in clients] == [401] * 3
        # Each worker counts what it answered a moment later; whichever is asked tells of all.
        told = 'route="/auth",status="200"} 9'
        for client in clients:
            until(lambda client=client: told in client.get("/metrics").text)  # type: ignore[misc]
        for client in clients:
            client.close()
        assert served.stop() == 0


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with Served(tmp_path, "--workers", "2", "--no-access-log") as served:
        served.call("GET", "/healthz")
        workers = children(served.process.pid)
        served.client.close()
        served.process.kill()
        # Its stderr is closed only once nobody has it any more, the workers included.
        served.ended()
    assert len(workers) == 2
    assert not [pid for pid in workers if Path(f"/proc/{pid}/cmdline").exists() and is_ours(pid)]


def is_ours(pid: int) -> bool:
    return b"sessionledger" in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.sampled
@pytest.mark.parametrize(("workers", "code"), [("1", 4), ("2", 1)])
def test_a_service_that_can_t_start_tells_nobody_to_come(
    tmp_path: Path, workers: str, code: int
) -> None:
    (tmp_path / "sessions.db").write_bytes(b"this is not a ledger" * 100)
    ended = subprocess.run(
        [*COMMAND, "serve", "--port", "0", "--workers", workers],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert ended.returncode == code
    assert "is not a SQLite database" in ended.stderr
    assert "serving at" not in ended.stderr


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with Served(tmp_path, "--workers", "2", "--no-access-log") as served:
        served.call("GET", "/healthz")
        served.client.close()
        before = children(served.process.pid)
        os.kill(before[0], signal.SIGKILL)
        assert "ended by itself" in served.line()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_children_of_others_are_reaped(tmp_path: Path, workers: str) -> None:
    """Process 1 of a container gets them. Here one begins before the service does."""
    os.mkfifo(tmp_path / "go")
    by = ["sh", "-c", '(read _ < go) & exec "$@"', "sh"]
    with Served(tmp_path, "--no-access-log", "--workers", workers, by=by) as served:
        pid = served.process.pid
        (stranger, *_) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        (tmp_path / "go").write_text("\n")
        until(lambda: not Path(f"/proc/{stranger}").exists())
        assert served.call("GET", "/healthz").status_code == 200
