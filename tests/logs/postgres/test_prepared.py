"""Statements without a cursor, on connections that do other things in between."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from sessionledger import open_log
from sessionledger.logs.postgres import prepared
from sessionledger.logs.postgres.log import PostgresLog
from sessionledger.testing.fixtures import FOLD, PATIENCE, TOPIC, creation
from tests.postgres_server import address


def opened(tmp_path: Path) -> PostgresLog:
    log = open_log(f"{address(tmp_path)}&pool_size=2")
    assert isinstance(log, PostgresLog)
    log.fold_with(TOPIC, FOLD)
    return log


@pytest.mark.parametrize("how", ["ROLLBACK", "DEALLOCATE ALL"])
def test_what_the_server_forgot_is_prepared_again(tmp_path: Path, how: str) -> None:
    log = opened(tmp_path)
    log.append(TOPIC, [creation(b"first")])
    assert log.state(TOPIC, b"first") is not None
    with log._pool.lent(monotonic() + PATIENCE) as connection:
        for statement in ("BEGIN", "SAVEPOINT one", how, "ROLLBACK"):
            connection.ask((statement, ()))
    assert log.state(TOPIC, b"first") is not None
    log.append(TOPIC, [creation(b"second")])
    assert [event.id for event in log.read(TOPIC)] == [1, 2]
    log.close()


def test_more_statements_than_are_kept_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "MOST", 1)
    log = opened(tmp_path)
    for key in (b"first", b"second"):
        log.append(TOPIC, [creation(key)])
        assert log.row(TOPIC, key) is not None
        assert log.state(TOPIC, key) is not None
    log.close()
