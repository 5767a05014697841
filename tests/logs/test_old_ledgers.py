"""A ledger of every schema that landed is opened, brought up to date, verified and read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sessionledger import DuplicateSession, HistoryCut, InvalidSession, SessionStore
from sessionledger.core.token import digest, handle_of, issue
from sessionledger.logs.postgres import queries as postgres
from sessionledger.logs.sqlite import queries as sqlite
from sessionledger.testing import Clock
from tests import postgres_server
from tests.ledgers import FOLDER, SCHEMA_OF_DUMPS, TOKENS, UNTIL, sources_of
from tests.logs.openers import address

LEDGERS = sorted(path.stem for path in FOLDER.glob("*.json"))
COMPACTED = [name for name in LEDGERS if name.endswith("-compacted")]


@pytest.fixture(params=LEDGERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def recorded(name: str) -> dict[str, Any]:
    """What the code of its time read from it."""
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))


@pytest.fixture
def url(name: str, tmp_path: Path) -> str:
    """A copy of the ledger."""
    backend, place = name.partition("-")[0], tmp_path / "ledger"
    if backend == "sqlite":
        shutil.copy(FOLDER / f"{name}.db", place)
        place.chmod(0o600)
    elif backend == "file":
        shutil.copytree(FOLDER / name, place)
        for found in (place, *place.rglob("*")):
            found.chmod(0o700 if found.is_dir() else 0o600)
    else:
        schema = postgres_server.schema(place)
        dump = (FOLDER / f"{name}.sql").read_text().replace(f"{SCHEMA_OF_DUMPS}.", f"{schema}.")
        dump = dump.replace(f'"{SCHEMA_OF_DUMPS}".', f'"{schema}".')  # as functions name it
        with psycopg.connect(postgres_server.server(), autocommit=True) as connection:
            connection.execute("SET check_function_bodies = off")  # functions come before tables
            connection.execute(dump.replace(f"SCHEMA {SCHEMA_OF_DUMPS};", f"SCHEMA {schema};"))
    return address(backend, place)


def test_it_reads_as_the_code_of_its_time_read_it(url: str, recorded: dict[str, Any]) -> None:
    with SessionStore.open(url) as store:
        assert read(store) == recorded["sessions"]
        assert len(list(store.events(after=store.stats().cut))) == recorded["events"]


def test_it_verifies_up_to_the_head_that_was_recorded(url: str, recorded: dict[str, Any]) -> None:
    with SessionStore.open(url) as store:
        found = store.verify(expect=recorded["head"])
        assert found.ok
        assert str(found.head) == recorded["head"]
        assert store.count() > 0  # rows of an older schema are folded before the first answer
        assert store.diagnose() == []


def test_its_rows_are_what_its_events_fold_to(url: str, recorded: dict[str, Any]) -> None:
    with SessionStore.open(url) as store:
        store.rebuild()
        assert read(store) == recorded["sessions"]


def test_it_is_written_from_then_on(url: str) -> None:
    with SessionStore.open(url) as store:
        issued = store.create("dora", ttl=timedelta(hours=1))
        with pytest.raises(DuplicateSession):
            store.create("mallory", token=TOKENS[0])
        for token in TOKENS:
            store.revoke(handle=handle_of(digest(token)))
            assert store.get(token) is None
        assert store.get(issued.token) is not None
        assert store.verify().ok


@pytest.mark.parametrize("name", COMPACTED)
def test_one_that_was_compacted_is_compacted_on(name: str, url: str) -> None:
    clock = Clock(UNTIL - timedelta(days=300))
    with SessionStore.open(url, clock=clock) as store:
        cut = store.stats().cut
        assert (cut > 0, store.stats().tombstones) == (True, len(TOKENS))
        with pytest.raises(HistoryCut):
            next(store.events())
        with pytest.raises(InvalidSession, match="generated"):
            store.create("mallory", token=str(issue(bytes(32))))
        (carol,) = store.sessions(principal="carol")
        assert store.history(handle=carol.handle)
        store.create("alice")
        assert store.compact(retention=timedelta(days=90)).cut > cut
        assert store.find(handle=carol.handle) == carol
        assert store.verify().ok
        assert store.stats().tombstones == len(TOKENS)


def test_there_is_a_ledger_of_every_schema() -> None:
    assert {name.partition("-")[0] for name in COMPACTED} == {"sqlite", "file", "postgresql"}
    assert {f"sqlite-{number}" for number in range(1, sqlite.SCHEMA_VERSION)} <= set(LEDGERS)
    assert {f"postgresql-{number}" for number in range(1, postgres.SCHEMA_VERSION)} <= set(LEDGERS)


@pytest.mark.middle
def test_an_older_version_refuses_what_a_newer_one_opened_and_takes_the_copy_of_before(
    tmp_path: Path,
) -> None:
    place, copy = tmp_path / "ledger", tmp_path / "before"
    for path in (place, copy):
        shutil.copy(FOLDER / "sqlite-4.db", path)
        path.chmod(0o600)
    SessionStore.open(address("sqlite", place)).close()
    older = sources_of("355d168f", tmp_path)
    assert "UnsupportedSchema" in listed_by(older, place)
    place.unlink()
    shutil.copy(copy, place)
    place.chmod(0o600)
    recorded = json.loads((FOLDER / "sqlite-4.json").read_text())
    assert listed_by(older, place).split() == sorted(recorded["sessions"])


def listed_by(sources: Path, place: Path) -> str:
    """What the code of a version says of the sessions in a ledger."""
    program = """
import sys
from sessionledger import SessionStore
with SessionStore.open(sys.argv[1]) as store:
    print(*sorted(one.handle for one in store.sessions(live=False)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, address("sqlite", place)],
        env=os.environ | {"PYTHONPATH": str(sources)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def read(store: SessionStore) -> dict[str, Any]:
    """What `tests.ledgers` records of the sessions."""
    return {
        one.handle: {
            "principal": one.principal,
            "attributes": one.attributes,
            "live": store.find(handle=one.handle) is not None,
        }
        for one in store.sessions(state="all", superseded=True)
    }
