"""Two PostgreSQL servers, `a` and `b`, under Patroni and etcd, which tests kill, stop and cut off.

Everything listens on free ports of this machine. The way between a server and all others leads
through proxies: to etcd, to its database and to its Patroni. Clients on its own side go directly.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from sessionledger.testing.fixtures import until
from tests.logs.postgres.standing_still import Swallower, processes
from tests.postgres_server import not_root, programs
from tests.server.served import free_port
from tests.servers import program

TTL, LOOP_WAIT, RETRY_TIMEOUT = 20, 1, 3
"""The shortest that Patroni takes, in seconds."""
DATABASE, SCOPE = "postgres", "ledger"
HERE = "127.0.0.1"
_USERS = {"superuser": "postgres", "replication": "standby", "rewind": "rewinder"}
# Patroni does not run as root. An interpreter in root's home can be read by nobody else.
_AS_NOBODY = (
    *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
    *("--inh-caps=+dac_override", "--ambient-caps=+dac_override"),
)


class Node:
    """A server and its Patroni, each of which is a process that a test may kill."""

    def __init__(self, name: str, folder: Path, etcd_port: int, *, synchronous: bool) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.data = self.folder / "data"
        self.port, self.rest_port = free_port(), free_port()
        self.ways = [_way(self.port), _way(self.rest_port), _way(etcd_port)]
        self._synchronous = synchronous
        self._settings = self.folder / "patroni.json"
        self._settings.write_text(json.dumps(self._told()))
        self._as_nobody = _AS_NOBODY if not_root(self.folder) else ()
        self._patroni: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where clients on the other side find it: host and port."""
        return f"{HERE}:{self.ways[0].port}"

    @property
    def own_address(self) -> str:
        """Where clients on its own side find it."""
        return f"{HERE}:{self.port}"

    def start(self) -> None:
        """Start Patroni, which starts the server."""
        with (self.folder / "log").open("ab") as log:
            self._patroni = subprocess.Popen(
                [*self._as_nobody, program("patroni"), self._settings],
                cwd=self.folder,
                env=os.environ | {"HOME": str(self.folder), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pids(self) -> list[int]:
        """Patroni, and every process of the server."""
        assert self._patroni is not None
        with suppress(FileNotFoundError, IndexError):
            return [self._patroni.pid, *processes(self.data)]
        return [self._patroni.pid]

    def signal(self, number: int, pids: list[int] | None = None) -> None:
        """Send it to all its processes."""
        for pid in self.pids() if pids is None else pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill all its processes at once, as when a machine loses power."""
        self.signal(signal.SIGSTOP)
        self.signal(signal.SIGKILL)
        assert self._patroni is not None
        self._patroni.wait()

    def kill_patroni(self) -> None:
        """Kill Patroni, and leave the server to itself."""
        assert self._patroni is not None
        self._patroni.kill()
        self._patroni.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """All its processes stand still."""
        pids = self.pids()
        self.signal(signal.SIGSTOP, pids)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT, pids)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Nothing comes through between it and the others."""
        for way in self.ways:
            way.swallows = True
        try:
            yield
        finally:
            for way in self.ways:
                way.swallows = False

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """What a statement answers. Raises what psycopg does."""
        with psycopg.connect(
            host=HERE, port=self.port, user="postgres", dbname=DATABASE, autocommit=True,
            connect_timeout=2, options="-c statement_timeout=5s",
        ) as connection:  # fmt: skip
            cursor = connection.execute(sql.encode())
            return [] if cursor.description is None else cursor.fetchall()

    @property
    def is_primary(self) -> bool:
        """Whether its server answers, and takes writes."""
        try:
            return self.execute("SELECT pg_is_in_recovery()") == [(False,)]
        except psycopg.Error:
            return False

    def members(self) -> dict[str, tuple[str, str]]:
        """The role and the state of each server, by its name, as this Patroni sees it."""
        try:
            told = _asked(self.rest_port, "cluster")
        except (OSError, ValueError):
            return {}
        return {one["name"]: (one["role"], one["state"]) for one in told["members"]}

    def end(self) -> None:
        """End it for good."""
        if self._patroni is not None:
            self.signal(signal.SIGCONT)
            self.kill()
        for way in self.ways:
            way.close()

    def _told(self) -> dict[str, object]:
        database, rest, etcd = (f"{HERE}:{way.port}" for way in self.ways)
        trusted = [f"host {what} all {HERE}/32 trust" for what in ("all", "replication")]
        return {
            "scope": SCOPE,
            "name": self.name,
            "restapi": {"listen": f"{HERE}:{self.rest_port}", "connect_address": rest},
            # Otherwise it would ask etcd where it is, and go there directly.
            "etcd3": {"hosts": [etcd], "use_proxies": True},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL,
                    "loop_wait": LOOP_WAIT,
                    "retry_timeout": RETRY_TIMEOUT,
                    "synchronous_mode": self._synchronous,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"wal_log_hints": "on"}},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "no-sync"],
            },
            "postgresql": {
                "listen": f"{HERE}:{self.port}",
                "connect_address": database,
                "data_dir": str(self.data),
                "bin_dir": str(programs()),
                "pgpass": str(self.folder / "pgpass"),
                "authentication": {
                    name: {"username": user, "password": "unused"}
                    for name, user in _USERS.items()
                },
                "pg_hba": ["local all all trust", *trusted],
                "parameters": {
                    "unix_socket_directories": str(self.folder),
                    "shared_buffers": "32MB",
                    "wal_sender_timeout": "5s",
                    "wal_receiver_timeout": "5s",
                },
            },
        }  # fmt: skip


class Cluster:
    """Both servers. `a` leads at first."""

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        folder.chmod(0o711)
        self.folder = folder
        self.synchronous = synchronous
        self.etcd_port = free_port()
        self._stack = ExitStack()
        self.a, self.b = self.nodes = [
            Node(name, folder, self.etcd_port, synchronous=synchronous) for name in ("a", "b")
        ]

    def start(self) -> None:
        """Start `a` and then `b`, and wait until both are there."""
        self._stack.enter_context(_etcd(self.folder, self.etcd_port))
        for node in self.nodes:
            self._stack.callback(node.end)
        self.a.start()
        until(lambda: self.a.is_primary)
        self.b.start()
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until one leads, and the other one has all that it acknowledges."""
        standby = "sync_standby" if self.synchronous else "replica"
        whole = [("leader", "running"), (standby, "streaming")]
        try:
            until(lambda: sorted(self.a.members().values()) == whole)
        except AssertionError:
            raise AssertionError(f"{self.a.members()}\n{self.logs()}") from None

    @property
    def leader(self) -> Node:
        """The one that leads, while the cluster is whole."""
        (found,) = (node for node in self.nodes if node.is_primary)
        return found

    def other(self, node: Node) -> Node:
        """The one that is not this one."""
        (found,) = (one for one in self.nodes if one is not node)
        return found

    def switch_over(self) -> None:
        """Let the other one lead."""
        leader = self.leader
        command: list[str | Path] = [
            program("patronictl"),
            "-c",
            self.folder / leader.name / "patroni.json",
        ]
        names = ["--leader", leader.name, "--candidate", self.other(leader).name]
        done = subprocess.run(
            [*command, "switchover", SCOPE, *names, "--force"],
            env=os.environ | {"LC_ALL": "C.UTF-8", "HOME": str(self.folder)},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def url(self, *addresses: str, **more: str) -> str:
        """The address of the ledger by several hosts, in this order."""
        hosts = ",".join(addresses or [node.address for node in self.nodes])
        query = "&".join(f"{name}={value}" for name, value in more.items())
        return f"postgresql://postgres@{hosts}/{DATABASE}?{query}"

    def logs(self) -> str:
        """The last that both said."""
        return "\n".join(
            f"== {node.name}\n" + "\n".join((node.folder / "log").read_text().splitlines()[-40:])
            for node in self.nodes
            if (node.folder / "log").exists()
        )

    def close(self) -> None:
        """End all of it."""
        self._stack.close()


@contextmanager
def _etcd(folder: Path, port: int) -> Iterator[None]:
    client, peer = f"http://{HERE}:{port}", f"http://{HERE}:{free_port()}"
    urls = ["--listen-client-urls", client, "--advertise-client-urls", client]
    urls += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    command = [program("etcd"), "--name", "etcd", "--initial-cluster", f"etcd={peer}", *urls]
    with (folder / "etcd.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "etcd")],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(partial(_answers, port))
        yield
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return bool(_asked(port, "health")["health"] == "true")
    except (OSError, ValueError):
        return False


def _asked(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://{HERE}:{port}/{path}", timeout=5) as said:
        return json.load(said)


def _way(port: int) -> Swallower:
    def connect() -> socket.socket:
        return socket.create_connection((HERE, port), timeout=None)

    return Swallower(connect)
