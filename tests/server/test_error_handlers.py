"""What operators are told of requests that can't be answered."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.server.error_handlers import OUTAGE_SECONDS, OutageLog
from tests import postgres_server
from tests.server.served import Served, make_key

ONE = r"the ledger can't be used, requests: %s, last: %s"


def test_a_line_a_second_tells_of_all_requests(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = OutageLog(lambda: now)
    for reason in ("a", "b", "c"):
        log(reason)
    now = OUTAGE_SECONDS
    log("d")
    assert [record.message for record in caplog.records] == [
        "the ledger can't be used, requests: 1, last: a",
        "the ledger can't be used, requests: 3, last: d",
    ]


def test_an_outage_has_a_line_and_a_metric_of_its_own(tmp_path: Path) -> None:
    """A PostgreSQL server goes away. Bearers, admin keys and resource servers ask meanwhile."""
    away = postgres_server.socket_path()
    place = tmp_path / away.name
    place.symlink_to(away)
    url = postgres_server.by_socket(tmp_path)
    key = make_key(tmp_path, f"root-{os.getpid()}", ledger=url)
    with SessionStore.open(url) as store:
        token = store.create("alice").token
    with Served(tmp_path, "--ledger", url, "--no-access-log", "--sweep-interval", "1d") as served:
        assert served.call("GET", "/auth", token).status_code == 200
        place.unlink()
        postgres_server.end_connections()
        answers = [
            served.call("GET", "/auth", token),
            served.call("GET", "/v1/session", token),
            served.call("GET", "/v1/sessions", key),
            served.call("POST", "/introspect", key, data={"token": token}),
            served.call("POST", "/revoke", key, data={"token": token}),
        ]
        assert [answer.status_code for answer in answers] == [503] * 5
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        line = served.line()
        assert re.fullmatch(ONE % ("1", ".*"), line)
        assert str(tmp_path) in line, "which says what could not be reached"
        assert token not in line
        metrics = served.call("GET", "/metrics").text
        assert 'requests_total{route="/auth",status="503"} 1\n' in metrics
        assert "sessionledger_unavailable_total 5\n" in metrics
