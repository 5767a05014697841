"""Greenlets of gevent use a ledger: none waits for ever, and others run while one waits.

`in_greenlets` says what they do, in a process of their own.
"""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path

import psycopg
import pytest

from tests import postgres_server
from tests.logs.children import ROOT, ask, finish
from tests.logs.in_greenlets import WHAT
from tests.logs.openers import address

pytestmark = pytest.mark.middle

ALONE = WHAT.keys() - {"held", "refused"}
STAYS_IN_ITS_PROCESS = {"memory": {"forked"}}
REFUSED_AFTER = {"after": {"loops"}}


@contextmanager
def greenlets(order: str, url: str, *named: str) -> Iterator[subprocess.Popen[str]]:
    """A process that gevent patches before it imports the package, or after it opened a store."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.logs.in_greenlets", order, url, *named]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def taken(log: str, place: Path) -> Iterator[None]:
    """Somebody else has the ledger, and does not let it go."""
    if log == "postgresql":
        with psycopg.connect(postgres_server.server()) as other:
            heads = f'"{postgres_server.schema(place)}".topic_heads'
            other.execute(f"SELECT * FROM {heads} FOR UPDATE".encode())
            yield
    elif log == "sqlite, by another program":
        with closing(sqlite3.connect(place, isolation_level=None)) as program:
            program.execute("BEGIN IMMEDIATE")
            yield
    else:
        with (place / "ledger.lock" if log == "file" else Path(f"{place}-lock")).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("log", ["memory", "sqlite", "file"])
def test_greenlets_share_an_embedded_ledger(tmp_path: Path, log: str, order: str) -> None:
    named = sorted(ALONE - STAYS_IN_ITS_PROCESS.get(log, set()) - REFUSED_AFTER.get(order, set()))
    with greenlets(order, address(log, tmp_path / "ledger"), *named) as child:
        assert finish(child).split() == named


def test_greenlets_share_a_ledger_in_postgresql(tmp_path: Path) -> None:
    with greenlets("before", address("postgresql", tmp_path / "ledger"), *sorted(ALONE)) as child:
        assert finish(child).split() == sorted(ALONE)


@pytest.mark.parametrize(
    ("log", "order"),
    [
        *product(("sqlite", "sqlite, by another program", "file"), ("before", "after")),
        ("postgresql", "before"),
    ],
)
def test_while_a_greenlet_waits_for_others_the_rest_go_on(
    tmp_path: Path, log: str, order: str
) -> None:
    place = tmp_path / "ledger"
    url = address(log.partition(",")[0], place)
    url += ("&" if "?" in url else "?") + "timeout=500ms"
    with greenlets(order, url, "held") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "hold\n"
        with taken(log, place):
            assert ask(child, "held") == "release" or finish(child)
        assert finish(child) == "held\n"


@pytest.mark.parametrize("log", ["sqlite", "postgresql"])
def test_what_could_hang_after_a_late_patch_is_refused_at_once(tmp_path: Path, log: str) -> None:
    with greenlets("after", address(log, tmp_path / "ledger"), "refused") as child:
        assert finish(child) == "refused\n"
