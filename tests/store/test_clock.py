"""Clocks and instants of every make: what is stored is the instant, and plain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from sessionledger import InvalidSession, Policy, Session
from sessionledger.testing.clock import NOON, Clock
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench

BERLIN = ZoneInfo("Europe/Berlin")
EVE_OF_SPRING = datetime(2026, 3, 28, 12, tzinfo=BERLIN)
DAY = timedelta(hours=24)


class Fake(datetime):
    """As freezegun's: arithmetic answers the subclass again."""

    def __add__(self, span: timedelta) -> Fake:
        return cast(Fake, as_fake(datetime.__add__(self, span)))

    def __sub__(self, other: Any) -> Any:
        answer = datetime.__sub__(self, other)
        return as_fake(answer) if isinstance(answer, datetime) else answer

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        raise AssertionError("a subclass is asked for nothing but its parts")


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class Frozen(datetime, metaclass=_AnyDatetime):
    """As time-freezing libraries have it: every datetime is an instance of it."""


def as_fake(at: datetime, kind: type[datetime] = Fake) -> Any:
    parts = (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
    return kind(*parts, tzinfo=at.tzinfo)


def instants(session: Session) -> list[datetime | None]:
    return [session.created_at, session.last_seen_at, session.expires_at, session.deadline]


def test_a_day_has_24_hours_across_the_spring_change(bench: Bench) -> None:
    bench.clock = Clock(EVE_OF_SPRING)
    policy = Policy(idle_timeout=DAY, ttl=2 * DAY)
    store = bench.open()
    at = EVE_OF_SPRING.astimezone(UTC)
    given = store.create("alice", ttl=DAY)
    from_given = store.create("alice", created_at=EVE_OF_SPRING, ttl=DAY)
    for session in (given, from_given):
        assert session.expires_at.astimezone(UTC) - at == DAY
        assert store.get(session.token, now=at + DAY - timedelta.resolution) is not None
        assert store.get(session.token, now=at + DAY) is None
    touched = store.touch(given.token, ttl=DAY + timedelta(hours=1))
    assert touched is not None
    assert touched.expires_at.astimezone(UTC) - at == DAY + timedelta(hours=1)
    sliding = bench.on(bench.log(), policy=policy).create("bob")
    assert sliding.expires_at.astimezone(UTC) - at == DAY
    assert sliding.deadline is not None
    assert sliding.deadline.astimezone(UTC) - at == 2 * DAY


def test_a_naive_clock_is_refused(bench: Bench) -> None:
    token = bench.open().create("alice").token
    bench.clock.now = NOON.replace(tzinfo=None)
    store = bench.open()
    calls: list[Callable[[], object]] = [
        lambda: store.create("alice"),
        lambda: store.get(token),
        lambda: store.touch(token),
        lambda: store.expire(token),
        lambda: store.count(),
    ]
    for call in calls:
        with pytest.raises(InvalidSession) as caught:
            call()
        assert caught.value.field == "clock"
    assert store.head().id == (1 if bench.persists else 0)


@pytest.mark.parametrize("kind", [Fake, Frozen])
@pytest.mark.parametrize("zone", [UTC, BERLIN, timezone(timedelta(hours=-3))], ids=str)
def test_subclasses_become_plain(bench: Bench, kind: type[datetime], zone: Any) -> None:
    now = as_fake(NOON.astimezone(zone), kind)
    bench.clock = Clock(now)
    store = bench.open()
    end = as_fake((NOON + DAY).astimezone(zone), kind)
    store.create("alice", token=TOKEN, ttl=DAY)
    store.create("alice", token=OTHER, created_at=now, expires_at=end)
    for token in (TOKEN, OTHER):
        assert store.touch(token, last_seen_at=now, expires_at=end) is not None
        session = store.get(token, now=now)
        assert session is not None
        assert instants(session)[:3] == [NOON, NOON, NOON + DAY]
    ended = store.expire(OTHER, expired_at=now)
    assert ended is not None
    told = list(store.sessions(state="all"))
    store.rebuild()
    assert list(store.sessions(state="all")) == told
    for session in [*told, ended]:
        assert all(type(at) is datetime for at in instants(session) if at is not None)
        assert session.created_at == NOON
    assert [session.expires_at for session in store.sessions()] == [NOON + DAY]


def test_an_offset_with_seconds_survives_a_rebuild(bench: Bench) -> None:
    """Before 1893 Berlin was 53 minutes and 28 seconds ahead, which RFC 3339 can't write."""
    then = datetime(1890, 1, 1, tzinfo=BERLIN)
    offset = then.utcoffset()
    assert offset is not None
    assert offset % timedelta(minutes=1)
    bench.clock = Clock(then)
    store = bench.open()
    store.create("alice", token=TOKEN, ttl=DAY)
    store.create("alice", token=OTHER, created_at=then, expires_at=then + DAY)
    told = list(store.sessions())
    assert [session.created_at for session in told] == [then.astimezone(UTC)] * 2
    assert [session.expires_at for session in told] == [then.astimezone(UTC) + DAY] * 2
    store.rebuild()
    assert list(store.sessions()) == told
    assert store.get(TOKEN) is not None
    assert store.verify().ok
