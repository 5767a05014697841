"""How many streams may be open, and how much a session and a principal may write."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from sessionledger import Handle, Session
from sessionledger.server.http.problems import HTTPProblem
from sessionledger.server.service.limits import StreamLimit, WriteLimit

NOON = datetime(2026, 5, 2, 12, tzinfo=UTC)
FIRST = Session(Handle("first"), "alice", NOON, NOON, NOON, {})


def test_a_stream_more_than_allowed_is_refused_until_another_has_ended() -> None:
    counts: list[int] = []
    limit = StreamLimit(1, counts.append)
    limit.acquire()
    with pytest.raises(HTTPProblem, match="too_many_streams"):
        limit.acquire()
    limit.release()
    limit.acquire()
    assert counts == [1, 0, 1]


def test_writes_count_for_the_family_and_for_the_principal() -> None:
    now = 0.0
    limit = WriteLimit(2, lambda: now)
    limit.take(FIRST)
    limit.take(replace(FIRST, handle=Handle("other"), family=FIRST.handle))
    with pytest.raises(HTTPProblem) as refused:
        limit.take(FIRST)
    assert refused.value.headers["Retry-After"] == "30"
    for number in range(9):
        for _ in range(2):
            limit.take(replace(FIRST, handle=Handle(f"{number}")))
    with pytest.raises(HTTPProblem) as refused:
        limit.take(replace(FIRST, handle=Handle("other")))
    assert "one principal" in refused.value.problem.detail
    limit.take(replace(FIRST, handle=Handle("other"), principal="bob"))
    now = 60.0
    limit.take(FIRST)
