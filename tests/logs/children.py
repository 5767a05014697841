"""Child processes of the tests: started, spoken with over pipes, and never waited for in vain."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sessionledger.testing.fixtures import PATIENCE, until

ROOT = Path(__file__).parents[2]
CHILD = "sessionledger-tests-child"
"""What PostgreSQL's server knows each of them by."""
_SERVED = f"""SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = '{CHILD}'"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that runs the script, with pipes for lines in and out."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PGAPPNAME": CHILD},
    )


def finish(child: subprocess.Popen[str], patience: float = PATIENCE) -> str:
    """What the child wrote, once it has ended well. It is killed where that takes too long."""
    with child:
        try:
            out, err = child.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    assert child.returncode == 0, err
    return out


def run(script: str, *arguments: object, patience: float = PATIENCE) -> str:
    """What a Python process that runs the script writes; it must end well."""
    return finish(start(script, *arguments), patience)


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process for as long as the block lasts."""
    with start(script, *arguments) as child:
        try:
            yield child
        finally:
            child.kill()


def kill(url: str, *children: subprocess.Popen[str]) -> None:
    """Kill all children that use a ledger, and wait until nothing is done for them any more.

    PostgreSQL's server ends the call of a client that is gone, before it notices.
    """
    for child in children:
        child.kill()
    for child in children:
        child.wait()
    if url.startswith("postgresql:"):
        from tests import postgres_server  # few children use it

        until(lambda: postgres_server.execute(_SERVED) == [(0,)])


def ask(child: subprocess.Popen[str], line: str) -> str:
    """Send the child a line, and return the line that it answers."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()
    return child.stdout.readline().rstrip("\n")
