"""How many streams may be open, and how much a session and a principal may write."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from sessionledger import Handle, Session
from sessionledger.server import Settings, create_app
from sessionledger.server.http.problems import HTTPProblem
from sessionledger.server.service.limits import (
    LIMITS,
    RequestCount,
    RequestLimits,
    StreamLimit,
)
from sessionledger.server.service.shared_counts import SharedCounts
from tests.server.web import Web

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
    now, told = 60.0, list[str]()
    counts = SharedCounts(len(LIMITS), sets=64, monotonic=lambda: now)
    limits = RequestLimits(Settings(writes_per_minute=2), counts, told.append)
    count = RequestCount(limits, "127.0.0.1", [])
    count.take_write(FIRST)
    count.take_write(replace(FIRST, handle=Handle("other"), family=FIRST.handle))
    with pytest.raises(HTTPProblem) as refused:
        count.take_write(FIRST)
    assert refused.value.headers["Retry-After"] == "90"
    for number in range(9):
        for _ in range(2):
            count.take_write(replace(FIRST, handle=Handle(f"{number}")))
    with pytest.raises(HTTPProblem) as refused:
        count.take_write(replace(FIRST, handle=Handle("other")))
    assert "one principal" in refused.value.problem.detail
    assert told == ["family_writes", "principal_writes"]
    count.take_write(replace(FIRST, handle=Handle("other"), principal="bob"))
    now = 150.0
    count.take_write(FIRST)


def test_two_hundred_touches_of_a_session_are_few_events() -> None:
    application = create_app(Settings(ledger="memory:", access_log=False, writes_per_minute=1000))
    with Web(application) as web:
        made = web.create()
        headers = {"Authorization": f"Bearer {made['token']}"}

        async def touch() -> tuple[int, str]:
            answer = await web.client.post("/v1/session/slide", headers=headers)
            return answer.status_code, answer.headers["etag"]

        async def all_at_once() -> list[tuple[int, str]]:
            return await asyncio.gather(*(touch() for _ in range(200)))

        before = web.run(web.ledger.sessions.stats).events
        told = web.run(all_at_once)
        after = web.run(web.ledger.sessions.stats).events
    assert {status for status, _ in told} == {200}
    assert after - before < 20
