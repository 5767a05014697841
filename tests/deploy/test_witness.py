"""The witness of docs/operating.md, by its line for cron: it keeps heads, and finds tampering."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionledger import SessionStore
from tests.cli.forking import commands
from tests.deploy.exposition import DEPLOY

PAGE = DEPLOY.parent / "docs" / "operating.md"
_CRON = re.compile(r"^(?:\S+ ){5}(\w+) (/usr/local/bin/sessionledger-witness) (\S+)$", re.MULTILINE)
_CHANGED = "THE LEDGER WAS CHANGED"


class Witness:
    """A witness of a ledger, whose program, heads and ledger are in folders of the test."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.ledger = folder / "sessions.db"
        self.heads = folder / "heads"
        self._programs = programs
        ((_, program, heads),) = _CRON.findall(PAGE.read_text())
        line = f"{program} {heads}"
        for there, here in {program: programs / Path(program).name, heads: self.heads}.items():
            line = line.replace(there, str(here))
        self._line = line

    def __call__(self) -> tuple[int, str]:
        """What cron gets of one run: the exit code, and what it would send by mail."""
        told = subprocess.run(
            ["/bin/sh", "-c", self._line],
            env={
                "PATH": f"{self._programs}:{os.environ['PATH']}",
                "SESSIONLEDGER_URL": f"sqlite:///{self.ledger}",
            },
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return told.returncode, told.stdout

    def kept(self) -> list[str]:
        return self.heads.read_text().splitlines()

    def store(self) -> SessionStore:
        return SessionStore.open(f"sqlite:///{self.ledger}")

    def execute(self, sql: str) -> None:
        """What somebody does to the file who goes round the ledger."""
        script = f"import apsw; apsw.Connection({str(self.ledger)!r}).execute({sql!r})"
        subprocess.run([sys.executable, "-c", script], check=True)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of programs as the witness's machine has it."""
    folder = tmp_path_factory.mktemp("programs")
    shutil.copy(DEPLOY / "witness" / "sessionledger-witness", folder)
    with commands(folder):
        yield folder


@pytest.fixture
def witness(tmp_path: Path, programs: Path) -> Witness:
    return Witness(tmp_path, programs)


def test_it_keeps_a_head_at_each_change_and_says_nothing(witness: Witness) -> None:
    with witness.store() as store:
        assert witness() == (0, "")
        assert not witness.heads.exists()
        first = store.create("alice")
        one = str(store.head())
        assert witness() == (0, "")
        assert witness() == (0, "")
        assert witness.kept() == [one]
        store.expire(first.token)
        assert witness() == (0, "")
        assert witness.kept() == [one, str(store.head())]
    assert witness.heads.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE events SET occurred_at_ms = 0 WHERE event_id = 1", "1"),
        ("DELETE FROM events WHERE event_id = 2", "3"),
        ("DELETE FROM events WHERE event_id = 3", "3"),
    ],
    ids=["changed", "removed", "cut short"],
)
def test_it_finds_an_event_that_was(witness: Witness, sql: str, problem: str) -> None:
    with witness.store() as store:
        for principal in ("alice", "bob", "carol"):
            store.create(principal)
    assert witness() == (0, "")
    kept = witness.kept()
    witness.execute(sql)
    if problem == "3" and "event_id = 3" in sql:
        witness.execute("UPDATE topic_heads SET last_id = 2")
    for _ in range(2):
        code, told = witness()
        assert code == 1
        assert _CHANGED in told
        assert kept[-1] in told
        assert re.search(rf"{_CHANGED}: false\t\d+\t.*\t{problem}\t", told)
    assert witness.kept() == kept


def test_it_finds_a_ledger_that_was_rewritten_hashes_and_all(witness: Witness) -> None:
    with witness.store() as store:
        store.expire(store.create("alice").token)
    assert witness() == (0, "")
    kept = witness.kept()
    for path in witness.ledger.parent.glob("sessions.db*"):
        path.unlink()
    with witness.store() as store:
        store.touch(store.create("alice").token)
        assert store.verify().ok
    code, told = witness()
    assert (code, witness.kept()) == (1, kept)
    assert "the log was rewritten" in told


def compacted(witness: Witness) -> str:
    """A ledger whose witness has a head that a compaction has removed since; that head."""
    long_ago = datetime.now(UTC) - timedelta(days=100)
    url = f"sqlite:///{witness.ledger}"
    with SessionStore.open(url, clock=lambda: long_ago, monotonic=lambda: 0.0) as store:
        token = store.create("alice").token
        head = str(store.head())
        assert witness() == (0, "")
        assert witness.kept() == [head]
        store.expire(token)
    with witness.store() as store:
        store.create("bob")
        assert store.compact(retention=timedelta(days=2)).events
        store.create("carol")
    return head


def test_what_a_compaction_removed_is_not_checkable_and_a_newer_head_is_kept(
    witness: Witness,
) -> None:
    head = compacted(witness)
    code, told = witness()
    assert code == 3
    assert f"not checkable here: a compaction removed the event of the head {head}" in told
    with witness.store() as store:
        assert witness.kept() == [head, str(store.head())]
    assert witness() == (0, "")


def test_a_change_beside_a_compaction_is_found(witness: Witness) -> None:
    head = compacted(witness)
    witness.execute("UPDATE events SET occurred_at_ms = 0 WHERE event_id = 4")
    code, told = witness()
    assert (code, witness.kept()) == (1, [head])
    assert _CHANGED in told


def test_a_ledger_that_is_away_is_no_change(witness: Witness) -> None:
    with witness.store() as store:
        store.create("alice")
    assert witness() == (0, "")
    kept = witness.kept()
    witness.ledger.rename(witness.ledger.with_name("elsewhere.db"))
    code, told = witness()
    assert (code, witness.kept()) == (4, kept)
    assert _CHANGED not in told
