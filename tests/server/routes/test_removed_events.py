"""Events that a compaction removed are 410, also as the first answer of a stream."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionledger import SessionStore
from tests.server.served import Served, make_key

OLD = datetime.now(UTC) - timedelta(days=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a session of long ago, which was compacted."""
    folder = tmp_path_factory.mktemp("served")
    url = f"sqlite:///{folder}/sessions.db"
    with SessionStore.open(url, clock=lambda: OLD) as store:
        store.create("alice", ttl=timedelta(days=900))
    with SessionStore.open(url) as store:
        assert store.compact(retention=timedelta(days=90)).cut == 1
    return folder


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    return make_key(folder, "root")


def test_a_stream_from_before_the_cut_is_gone(served: Served, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    for told in ({"params": {"after": "0"}}, {"headers": {"Last-Event-ID": "0"}}):
        answer = served.client.get(
            "/v1/events", params=told.get("params"), headers=headers | told.get("headers", {})
        )
        assert answer.status_code == 410
        assert answer.json()["code"] == "history_cut"
        assert "1" in answer.json()["detail"]


def test_a_stream_from_the_cut_goes_on(served: Served, key: str) -> None:
    told = {"params": {"after": "1"}, "headers": {"Authorization": f"Bearer {key}"}}
    with served.client.stream("GET", "/v1/events", **told) as stream:  # type: ignore[arg-type]
        assert stream.status_code == 200
        assert next(stream.iter_lines()).startswith("retry")
