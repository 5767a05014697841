"""Subclasses of plain types count as what they extend, wherever a caller passes one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import freezegun
import pendulum
import pytest
import time_machine
from django.utils.functional import lazystr

from sessionledger import (
    InvalidEvent,
    InvalidPolicy,
    InvalidSession,
    LogEvent,
    Policy,
    SessionStore,
)
from sessionledger.core.token import key_of
from sessionledger.integrations.requirements import Requirements
from sessionledger.plain import as_number, as_span, as_text
from sessionledger.store.engine import SESSIONS_TOPIC
from tests import postgres_server

HOUR = timedelta(hours=1)
START = datetime(2026, 12, 24, 10, tzinfo=UTC)
FREEZERS: dict[str, Callable[[datetime], AbstractContextManager[Any]]] = {
    "freezegun": freezegun.freeze_time,
    "time-machine": lambda at: time_machine.travel(at, tick=False),
}


class Role(StrEnum):
    ADMIN = "admin"


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize("freezer", FREEZERS)
@pytest.mark.parametrize("url", ["memory:", "sqlite:///{}/a.db", "file://{}/a"])
def test_a_store_follows_time_that_was_frozen_after_it_was_opened(
    tmp_path: Path, url: str, freezer: str
) -> None:
    at = FREEZERS[freezer]
    with SessionStore.open(url.format(tmp_path)) as store:
        with at(START):
            token = store.create("alice", ttl=HOUR).token
        with at(START + HOUR / 2):
            assert store.authenticate(token) is not None
            assert store.get(token) is not None
            assert store.count(state="live") == 1
        with at(START + 2 * HOUR):
            assert store.get(token) is None
            assert store.authenticate(token) is None
            assert store.count(state="live") == 0


@pytest.mark.parametrize("freezer", FREEZERS)
def test_a_session_that_began_in_frozen_time_is_made_of_plain_datetimes(freezer: str) -> None:
    with FREEZERS[freezer](START), SessionStore.open("memory:") as store:
        session = store.create("alice", ttl=HOUR)
    assert session.created_at == START
    assert type(session.created_at) is datetime
    assert type(session.expires_at) is datetime


def test_times_and_spans_of_pendulum_are_plain_ones() -> None:
    policy = Policy(idle_timeout=pendulum.duration(hours=2))
    assert type(policy.idle_timeout) is timedelta
    now = pendulum.datetime(2100, 1, 1, tz="Europe/Paris")
    with SessionStore.open("memory:", policy=policy) as store:
        session = store.create("alice", created_at=now, ttl=pendulum.duration(days=1))
        touched = store.touch(session.token, last_seen_at=now.add(hours=1))
    assert touched is not None
    assert touched.deadline == now + timedelta(days=1)
    assert touched.last_seen_at == now + HOUR
    assert {type(each) for each in (touched.created_at, touched.expires_at)} == {datetime}
    assert type(touched.idle_timeout) is timedelta


@pytest.mark.parametrize("text", [Role.ADMIN, lazystr("admin")])
def test_enums_and_lazy_translations_are_text(text: Any) -> None:
    with SessionStore.open("memory:") as store:
        session = store.create(
            text, attributes={"role": text}, external_id=text, actor=text, context={"app": text}
        )
        assert [one.principal for one in store.sessions(principal=text)] == ["admin"]
        store.revoke(handle=session.handle, reason=text)
        created, ended = list(store.history(handle=session.handle))
    assert session.attributes == {"role": "admin"}
    assert created.actor == "admin"
    assert created.context == {"app": "admin"}
    assert ended.reason == "admin"
    plain = (session.principal, session.external_id, session.attributes["role"], ended.reason)
    assert {type(each) for each in plain} == {str}


def test_a_required_attribute_may_be_an_enum() -> None:
    with SessionStore.open("memory:") as store:
        session = store.create("alice", attributes={"role": Role.ADMIN, "level": Level.HIGH})
    assert Requirements(attributes={"role": Role.ADMIN}).refusal(session, "app") is None
    assert Requirements(attributes={"level": Level.HIGH}).refusal(session, "app") is None
    assert Requirements(attributes={"level": True}).refusal(session, "app") is not None


def test_a_whole_number_may_be_an_enum() -> None:
    policy = Policy(max_successors=Level.HIGH)
    assert type(policy.max_successors) is int
    with SessionStore.open("memory:") as store:
        token = store.create("alice").token
        assert list(store.sessions(page_size=Level.HIGH))
        assert store.patch(token, {"n": 1}, if_version=1)


@pytest.mark.parametrize("value", [b"admin", 5, None, ["admin"], object()])
def test_what_is_no_text_is_none(value: object) -> None:
    assert as_text(value) is None
    with SessionStore.open("memory:") as store, pytest.raises(InvalidSession):
        store.create(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_what_is_no_whole_number_is_none(value: object) -> None:
    assert as_number(value) is None
    with pytest.raises(InvalidPolicy):
        Policy(max_successors=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [5, "5 s", START])
def test_what_is_no_span_is_none(value: object) -> None:
    assert as_span(value) is None
    with pytest.raises(InvalidPolicy):
        Policy(ttl=value)  # type: ignore[arg-type]


def test_a_sweep_takes_an_enum_as_its_limit() -> None:
    with SessionStore.open("memory:") as store:
        assert store.sweep(limit=Level.HIGH) == 0
        with pytest.raises(InvalidSession):
            store.sweep(limit=True)


class Number:
    """A whole number of a library that counts in types of its own."""

    def __index__(self) -> int:
        return 40


def test_a_whole_number_of_a_library_counts() -> None:
    assert as_number(Number()) == 40
    number: Any = Number()
    assert type(Policy(min_token_chars=number).min_token_chars) is int
    assert type(Policy(max_principal_chars=number).max_principal_chars) is int


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("min_token_chars", value) for value in (HOUR, "40", 0, None, True)),
        *(("max_attributes_bytes", value) for value in (HOUR, "40", 0, True)),
        *(("unique_principals", value) for value in (1, "yes", None)),
        ("on_limit", b"deny"),
    ],
)
def test_what_a_policy_can_not_mean_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidPolicy, match=name):
        Policy(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("as_lazy", [lazystr, Role])
def test_addresses_tokens_and_events_may_be_enums_or_lazy(as_lazy: Callable[[str], Any]) -> None:
    admin = as_lazy("admin")
    deny: Any = Policy(on_reuse=lazystr("deny")).on_reuse
    assert type(deny) is str
    event = LogEvent.of(admin, {}, headers={Role.ADMIN: admin})
    assert {type(each) for each in (event.kind, *event.headers, *event.headers.values())} == {str}
    with SessionStore.open(lazystr("memory:")) as store:
        issued = store.create("alice")
        assert store.authenticate(lazystr(issued.token)) is not None
        assert store.peek(lazystr(issued.token)) is not None


class Index:
    """As the whole numbers of numpy."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value


class Text(str):
    """Text that says something else of itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "else"


class Span(timedelta):
    def __add__(self, other: object) -> Any:
        raise AssertionError


class Time(datetime):
    def isoformat(self, *_: Any) -> str:
        raise AssertionError


@pytest.fixture(params=["memory:", "sqlite:///{}/a.db", "file://{}/a", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return postgres_server.address(tmp_path)
    return str(request.param).format(tmp_path)


def test_every_log_takes_subclasses_of_plain_types(log_url: str) -> None:
    policy = Policy(ttl=Span(hours=2), on_limit=Text("deny"))  # type: ignore[arg-type]
    soon, far = Time.now(UTC) + HOUR, Time(2999, 1, 1, tzinfo=UTC)
    lazy: Callable[[str], Any] = lazystr
    number: Callable[[int], Any] = Index
    with SessionStore.open(log_url, policy=policy) as store:
        made = store.create(
            lazy("alice"),
            ttl=Span(hours=1),
            attributes=OrderedDict({Text("role"): Role.ADMIN}),
            external_id=Text("ext"),
            reason=lazy("why"),
            context={Text("key"): lazy("value")},
        )
        token, handle = lazy(made.token), lazy(made.handle)
        store.create(Role.ADMIN, parent=token, actor=handle, expires_at=far)
        store.touch(token, attributes=OrderedDict(x=Role.ADMIN), expires_at=soon)
        version = store.get(token).version  # type: ignore[union-attr]
        patched = store.patch(token, OrderedDict(y=lazy("z")), if_version=number(version))
        assert patched is not None
        assert patched.attributes == {"x": "admin", "y": "z"}
        assert store.rotate(token, grace=Span(minutes=1)) is not None
        assert store.count(principal=lazy("alice")) == 1
        assert len(list(store.sessions(external_id=Text("ext")))) == 1
        reasons = [one.reason for one in store.history(handle=handle)]
        assert reasons[0] == "why"
        assert store.as_of(handle=handle, at=soon) is not None
        assert store.revoke(handle=handle, reason=Role.ADMIN)
        assert store.revoke_all(Role.ADMIN) == 0
        assert len(list(store.events(after=number(1)))) == len(list(store.events(after=1)))
        assert store.verify().ok


def test_every_log_takes_the_whole_numbers_of_libraries_and_refuses_others(log_url: str) -> None:
    number: Callable[[int], Any] = Index
    with SessionStore.open(log_url) as store:
        log, topic = store._log, SESSIONS_TOPIC
        key = key_of(store.create("alice").handle)
        store.create("bob")
        assert key is not None
        assert len(log.read(topic, number(1), number(5))) == 1
        assert len(log.read_key(topic, key, number(0), number(1))) == 1
        assert len(log.rows(topic, limit=number(1))) == 1
        assert log.wait(topic, number(1), 1) == 2
        log.ack(topic, "mailer", number(1))
        wrong: list[Any] = ["x", 1.5, True, None, -1, 1 << 63]
        for value in wrong:
            for call in (
                lambda value=value: log.read(topic, value),
                lambda value=value: log.read(topic, 0, value),
                lambda value=value: log.read_key(topic, key, value),
                lambda value=value: log.rows(topic, limit=value),
                lambda value=value: log.wait(topic, value, 0),
                lambda value=value: log.ack(topic, "mailer", value),
                lambda value=value: list(store.events(after=value)),
            ):
                with pytest.raises(InvalidEvent, match="must be"):
                    call()
        assert log.cursor(topic, "mailer") == 1
