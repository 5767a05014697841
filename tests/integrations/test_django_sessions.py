"""`request.session` in the ledger: what Django promises of it, and what it gets besides."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import AsyncClient, Client, RequestFactory, override_settings

from sessionledger import InvalidSession, Policy, SessionLimitReached, open_log
from sessionledger import SessionStore as Ledger
from sessionledger.integrations.django import configuration
from sessionledger.integrations.django.backchannel import backchannel_logout
from sessionledger.integrations.django.sessions import SessionStore
from sessionledger.testing import Clock
from sessionledger.web.backchannel.receiver import FORM, LogoutReceiver
from tests.integrations.apps.django_app import set_up
from tests.integrations.apps.django_sessions_app import ENGINE, MIDDLEWARE
from tests.integrations.processes import ledger_in, served
from tests.web.backchannel import providing

set_up()

AGE = timedelta(weeks=2)


@pytest.fixture(scope="module")
def users() -> dict[str, str]:
    """The primary keys of two users, as texts."""
    call_command("migrate", verbosity=0)
    made = {name: get_user_model().objects.create_user(name, password="secret") for name in "ab"}
    return {name: str(user.pk) for name, user in made.items()}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> Iterator[Ledger]:
    log = open_log("memory:")
    store = Ledger(log, clock=clock)
    told = {"SESSIONS": lambda: Ledger(log, clock=clock)}
    with override_settings(
        SESSIONLEDGER=told,
        SESSION_ENGINE=ENGINE,
        MIDDLEWARE=MIDDLEWARE,
        ROOT_URLCONF="tests.integrations.apps.django_sessions_app",
        ALLOWED_HOSTS=["testserver"],
    ):
        yield store
    log.close()


def key_of(client: Any) -> str:
    return str(client.cookies["sessionid"].value)


def made(**data: Any) -> SessionStore:
    """A session that is stored."""
    session = SessionStore()
    session.update(data)
    session.save()
    return session


def test_a_user_logs_in_is_listed_and_is_thrown_out(ledger: Ledger, users: dict[str, str]) -> None:
    here, there = Client(), Client()
    for client in (here, there):
        assert client.get("/login?name=a").json()["user"] == "a"
        assert client.get("/").json()["user"] == "a"
    assert ledger.count(principal=users["a"]) == 2
    assert ledger.revoke_all(users["a"], reason="lost phone") == 2
    for client in (here, there):
        assert client.get("/").json() == {"user": "", "session": {}}


def test_a_log_in_changes_the_key_and_keeps_the_basket(
    ledger: Ledger, users: dict[str, str]
) -> None:
    client = Client()
    client.get("/put?basket=tea")
    before = key_of(client)
    visitor = ledger.get(before)
    assert visitor is not None
    assert visitor.is_anonymous
    assert client.get("/login?name=a").json()["session"] == {"basket": "tea"}
    after = key_of(client)
    assert (before == after, ledger.get(before)) == (False, None)
    session = ledger.get(after)
    assert session is not None
    assert session.principal == users["a"]
    assert session.family is None, "nothing leads from the visitor to the user"


@pytest.mark.parametrize(
    "text", ["harn_sess_" + "A" * 43, f"I typed harn_sess_{'-' * 43}, twice harn_sess_{'_' * 50}"]
)
def test_a_text_that_looks_like_a_token_is_no_error_and_is_not_stored(
    ledger: Ledger, text: str
) -> None:
    client = Client()
    assert client.get("/put", {"note": text, text: "a name"}).status_code == 200
    assert client.get("/put?more=1").status_code == 200
    stored = client.get("/").json()["session"]
    assert stored["more"] == "1"
    assert stored["note"].count("harn_sess_...") == text.count("harn_sess_")
    assert "harn_sess_" + text[-43:] not in str(stored)
    assert not any(text[-43:] in str(event) for event in ledger.events())


def test_a_session_may_be_told_its_own_key_which_is_not_stored(ledger: Ledger) -> None:
    session = made(basket="tea")
    session["previous"] = {"key": [session.session_key]}
    session.save()
    again = SessionStore(session.session_key)
    assert again["previous"] == {"key": ["harn_sess_..."]}
    assert again["basket"] == "tea"


def test_another_user_gets_nothing_of_the_first(ledger: Ledger, users: dict[str, str]) -> None:
    client = Client()
    client.get("/login?name=a")
    client.get("/put?secret=1")
    first = key_of(client)
    assert client.get("/login?name=b").json() == {"user": "b", "session": {}}
    assert ledger.get(first) is None
    assert (ledger.count(principal=users["a"]), ledger.count(principal=users["b"])) == (0, 1)


def test_a_session_that_becomes_somebodys_without_a_log_in_changes_its_key(ledger: Ledger) -> None:
    session = made(basket="tea")
    before = session.session_key
    session["_auth_user_id"] = "7"
    session.save()
    assert (session.session_key == before, ledger.get(before)) == (False, None)
    assert [one.principal for one in ledger.sessions()] == ["7"]


def test_a_coroutine_logs_in_and_out(ledger: Ledger, users: dict[str, str]) -> None:
    client = AsyncClient()
    told: list[str] = []
    answered(client.get("/aput?basket=tea"))
    before = key_of(client)
    told.append(answered(client.get("/alogin?name=a")).content.decode())
    assert told == [key_of(client)]
    assert ledger.get(before) is None
    (session,) = ledger.sessions()
    assert session.principal == users["a"]
    assert SessionStore(key_of(client))["basket"] == "tea"
    answered(client.get("/alogout"))
    assert ledger.count() == 0


def test_a_log_out_ends_the_session(ledger: Ledger, users: dict[str, str]) -> None:
    client = Client()
    client.get("/login?name=a")
    key = key_of(client)
    answer = client.get("/logout")
    assert (answer.cookies["sessionid"].value, ledger.get(key)) == ("", None)
    assert ledger.count() == 0
    assert {entry.actor for entry in ledger.history(principal=users["a"])} == {users["a"]}


@pytest.mark.parametrize("planted", ["x", "a" * 32, "harn_sess_" + "A" * 43, "a" * 600])
def test_a_key_that_was_planted_is_not_taken(ledger: Ledger, planted: str) -> None:
    client = Client()
    client.cookies["sessionid"] = planted
    assert client.get("/put?a=1").json()["session"] == {"a": "1"}
    assert key_of(client) != planted
    assert not SessionStore().exists(planted)
    SessionStore().delete(planted)
    assert ledger.count() == 1


def test_requests_at_the_same_time_lose_nothing_of_each_other(ledger: Ledger) -> None:
    key = made(kept=1, removed=1, changed=1).session_key
    one, other = SessionStore(key), SessionStore(key)
    assert one["kept"] == other["kept"] == 1
    one["ones"] = 1
    del one["removed"]
    other["others"] = 2
    other["changed"] = 2
    one.save()
    other.save()
    expected = {"kept": 1, "changed": 2, "ones": 1, "others": 2}
    assert dict(SessionStore(key).items()) == expected


VALUES = [
    None,
    True,
    1,
    1.0,
    "text",
    [],
    [[None]],
    {"a": {"b": None, "c": [1, {"d": None}]}},
    {},
]


@pytest.mark.parametrize("value", VALUES, ids=str)
@pytest.mark.parametrize("before", VALUES, ids=str)
def test_a_value_is_replaced_whole_and_as_it_is(ledger: Ledger, before: Any, value: Any) -> None:
    session = made(it=before)
    session["it"] = value
    session.save()
    told = SessionStore(session.session_key)["it"]
    assert (told, type(told)) == (value, type(value))


def test_what_changes_within_a_value_is_saved(ledger: Ledger) -> None:
    session = made(basket={"tea": 1, "milk": None})
    again = SessionStore(session.session_key)
    again["basket"]["tea"] = 2
    del again["basket"]["milk"]
    again.save()
    assert SessionStore(session.session_key)["basket"] == {"tea": 2}


UNUSUAL = [
    {"b": 1, "a": {"d": 1, "c": 2}},
    {1: "a", None: "b", 1.5: "c", "1": "d"},
    (1, [2, (3,)]),
    float("inf"),
    -0.0,
    1e-7,
    "\ud800",
    "ü\x00\N{SNOWMAN}",
    10**4000,
]


@pytest.mark.parametrize("value", UNUSUAL, ids=lambda value: repr(value)[:20])
def test_a_value_comes_back_as_from_djangos_own_engines(ledger: Ledger, value: Any) -> None:
    session = made(it=value, other=1)
    told = SessionStore(session.session_key)["it"]
    assert repr(told) == repr(json.loads(json.dumps(value)))
    again = SessionStore(session.session_key)
    again["it"] = [value]
    again.save()
    assert repr(SessionStore(session.session_key)["it"]) == repr(json.loads(json.dumps([value])))


@pytest.mark.parametrize("levels", [30, 61, 62, 63, 64, 124, 125, 500])
def test_a_value_may_nest_deeper_than_attributes_do(ledger: Ledger, levels: int) -> None:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    assert SessionStore(made(it=value).session_key)["it"] == value


def test_names_stay_in_their_order(ledger: Ledger) -> None:
    session = made(c=1, a=2, b=3)
    assert list(SessionStore(session.session_key).keys()) == ["c", "a", "b"]
    again = SessionStore(session.session_key)
    again["c"] = again.pop("c")
    again["0"] = 1
    again.save()
    assert list(SessionStore(session.session_key).keys()) == ["a", "b", "c", "0"]


def test_a_name_that_is_no_text_comes_back_as_from_djangos_own_engines(ledger: Ledger) -> None:
    session = SessionStore()
    session.update({1: "a", None: "b", 1.5: "c"})
    session.save()
    assert dict(SessionStore(session.session_key).items()) == {"1": "a", "null": "b", "1.5": "c"}


def test_what_cannot_be_stored_is_refused_at_the_assignment(ledger: Ledger) -> None:
    session = made(it=1)

    async def aset() -> None:
        await session.aset("it", object())

    async def aupdate() -> None:
        await session.aupdate({"it": object()})

    for refused in (object(), {"a": {1, 2}}, "x" * 65_536):
        with pytest.raises((TypeError, InvalidSession)):
            session["it"] = refused
        with pytest.raises((TypeError, InvalidSession)):
            session.update({"new": 1, "it": refused})
    for call in (aset, aupdate):
        with pytest.raises(TypeError):
            asyncio.run(call())
    with pytest.raises(InvalidSession, match="surrogate"):
        session["\ud800"] = 1
    assert dict(session.items()) == {"it": 1}
    session.save()
    assert dict(SessionStore(session.session_key).items()) == {"it": 1}


@pytest.mark.parametrize(
    "value", [1, "\ud800", '"' * 20, "\\", 1e-7, {"b": 1, "a": "\x00"}], ids=repr
)
@pytest.mark.parametrize("name", ["{}", '"{}', "ü{}", "\x00{}"])
def test_what_was_assigned_is_not_refused_for_its_size_afterwards(name: str, value: Any) -> None:
    log = open_log("memory:")
    policy = Policy(max_attributes_bytes=2000)
    with override_settings(SESSIONLEDGER={"SESSIONS": lambda: Ledger(log, policy=policy)}):
        session = SessionStore()
        with pytest.raises(InvalidSession, match="2000 fit"):
            for number in range(1000):
                session[name.format(number)] = value
        session.save()
        assert SessionStore(session.session_key).load() == dict(session.items())
    log.close()


class Pickled:
    """A serializer of a project's own."""

    def dumps(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def loads(self, text: bytes) -> Any:
        return pickle.loads(text)


def test_another_serializer_is_used_as_django_does(ledger: Ledger) -> None:
    with override_settings(SESSION_SERIALIZER=f"{__name__}.Pickled"):
        session = made(it={1, 2}, when=AGE)
        again = SessionStore(session.session_key)
        assert (again["it"], again["when"]) == ({1, 2}, AGE)
        with pytest.raises(InvalidSession, match="token"):
            session["note"] = "harn_sess_" + "A" * 43
    assert dict(SessionStore(session.session_key).items()) == {}, "as what Django can't decode"


def clear(session: SessionStore) -> None:
    session.clear()


def clear_and_set(session: SessionStore) -> None:
    session.clear()
    session["new"] = 1


def read_and_clear(session: SessionStore) -> None:
    assert session["a"] == 1
    session.clear()


def put_in_place(session: SessionStore) -> None:
    session._session_cache = {"new": 1}


def read_again(session: SessionStore) -> None:
    session.clear()
    assert session.load()["a"] == 1


@pytest.mark.parametrize("write", [clear, clear_and_set, read_and_clear, put_in_place, read_again])
@pytest.mark.parametrize("coroutine", [False, True], ids=["plain", "coroutine"])
def test_what_was_put_in_place_replaces_all_of_a_visitor(
    ledger: Ledger, write: Callable[[SessionStore], None], coroutine: bool
) -> None:
    key = made(a=1, b=1).session_key
    again = SessionStore(key)
    write(again)
    expected = dict(again.items())
    asyncio.run(again.asave()) if coroutine else again.save()
    assert again.session_key == key
    assert dict(SessionStore(key).items()) == expected
    again["more"] = 1
    again.save()
    assert dict(SessionStore(key).items()) == {**expected, "more": 1}


@pytest.mark.parametrize("write", [clear, clear_and_set, read_and_clear, put_in_place, read_again])
@pytest.mark.parametrize("coroutine", [False, True], ids=["plain", "coroutine"])
def test_what_was_put_in_place_replaces_all_of_a_user(
    ledger: Ledger, write: Callable[[SessionStore], None], coroutine: bool
) -> None:
    session = made(a=1, _auth_user_id="7")
    key = session.session_key
    again, other = SessionStore(key), SessionStore(key)
    write(again)
    other["b"] = 2
    other.save()
    expected = dict(again.items())
    asyncio.run(again.asave()) if coroutine else again.save()
    assert dict(SessionStore(again.session_key).items()) == expected
    assert "_auth_user_id" not in SessionStore(key)
    assert ledger.count(principal="7") == 0, "it is nobody's now"


@pytest.mark.parametrize("path", ["/clear", "/aclear"])
def test_clearing_without_a_look_logs_out(ledger: Ledger, users: dict[str, str], path: str) -> None:
    key = logged_in("a")
    client = asked_with(path)
    client.cookies["sessionid"] = key
    answered(client.get(path))
    assert (SessionStore(key).load(), SessionStore(key_of(client)).load()) == ({}, {})
    assert ledger.count(principal=users["a"]) == 0


def asked_with(path: str) -> Any:
    """The client of the colour that the name of the path says."""
    return AsyncClient() if path.startswith("/a") else Client()


def answered(answer: Any) -> Any:
    return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer


def logged_in(name: str) -> str:
    client = Client()
    client.get(f"/login?name={name}")
    return key_of(client)


def test_a_look_at_what_is_stored_takes_nothing_from_another_request(ledger: Ledger) -> None:
    key = made(a=1).session_key
    one, other = SessionStore(key), SessionStore(key)
    one["ones"] = 1
    other["a"] = 2
    other.save()
    assert one.load() == {"a": 2}
    one.save()
    assert dict(SessionStore(key).items()) == {"a": 2, "ones": 1}


@pytest.mark.parametrize(
    "key",
    ["x" * 8, "a" * 32, "a" * 600, "sha256:v1:" + "0" * 64, "\ud800" * 40, " " * 40, "ü\x00" * 20],
)
def test_a_cookie_of_any_make_is_no_session(ledger: Ledger, key: str) -> None:
    assert not SessionStore().exists(key)
    SessionStore().delete(key)
    SessionStore(key).delete()
    SessionStore(key).flush()
    cleared = SessionStore(key)
    cleared.clear()
    with pytest.raises(UpdateError):
        cleared.save()
    cycled = SessionStore(key)
    cycled.cycle_key()
    cycled.save()
    saved = SessionStore(key)
    saved.save()
    assert key not in (cycled.session_key, saved.session_key)
    assert ledger.count() == 2


def test_saving_the_session_of_a_guest_sends_the_cookie(ledger: Ledger) -> None:
    for path in ("/save", "/asave"):
        client = asked_with(path)
        key = answered(client.get(path)).content.decode()
        assert key_of(client) == key
        assert SessionStore().exists(key)


def test_only_a_key_that_is_not_in_use_creates(ledger: Ledger) -> None:
    key = made(a=1).session_key
    for call in (
        lambda: SessionStore(key).save(must_create=True),
        lambda: asyncio.run(SessionStore(key).asave(must_create=True)),
    ):
        with pytest.raises(CreateError):
            call()
    planted = SessionStore("a" * 32)
    planted.save(must_create=True)
    assert planted.session_key != "a" * 32
    assert ledger.count() == 2


def test_a_key_that_django_makes_is_the_key_that_is_saved(ledger: Ledger) -> None:
    async def choose() -> SessionStore:
        session = SessionStore()
        await session.aset("a", 1)
        await session._aget_or_create_session_key()
        return session

    session = SessionStore()
    session["a"] = 1
    session._get_or_create_session_key()
    for one in (session, asyncio.run(choose())):
        key = one.session_key
        one.save()
        assert one.session_key == key
        assert SessionStore(key).load() == {"a": 1}


def test_what_another_engine_stored_does_not_store_its_key(ledger: Ledger) -> None:
    key = "abcdefgh" * 4
    session = SessionStore(key)
    assert session.adopt({"a": 1, "key": [key]}, datetime.now(UTC) + AGE * 1000)
    assert not session.adopt({"a": 2}, datetime.now(UTC) + AGE * 1000)
    again = SessionStore(key)
    again["b"] = f"/{key}/"
    again.save()
    assert SessionStore(key).load() == {"a": 1, "key": ["..."], "b": "/.../"}


def test_saving_every_request_writes_one_event_each_time(ledger: Ledger, clock: Clock) -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        client = Client()
        client.get("/put?a=1")
        for _ in range(2):
            clock.advance(timedelta(seconds=1))
            before = len(events(ledger))
            client.get("/")
            assert len(events(ledger)) == before + 1


def test_a_key_is_known_from_the_log_in_on(ledger: Ledger, users: dict[str, str]) -> None:
    told: list[str] = []

    def log(request: Any, **_: Any) -> None:
        told.append(request.session.session_key)

    user_logged_in.connect(log)
    try:
        client = Client()
        client.get("/put?basket=tea")
        client.get("/login?name=a")
    finally:
        user_logged_in.disconnect(log)
    assert told == [key_of(client)]
    assert len(told[0]) == 53
    (session,) = ledger.sessions(principal=users["a"])
    assert session.generated


def test_a_change_writes_one_event(ledger: Ledger, clock: Clock) -> None:
    session = made(a=1, b=2)
    (handle,) = (one.handle for one in ledger.sessions())
    for change in (("a", 2), ("a", 2), ("_session_expiry", 60)):
        before = len(list(ledger.history(handle=handle)))
        clock.advance(timedelta(seconds=1))
        again = SessionStore(session.session_key)
        again[change[0]] = change[1]
        again.save()
        assert len(list(ledger.history(handle=handle))) == before + 1


def test_what_ended_meanwhile_does_not_come_back(ledger: Ledger, users: dict[str, str]) -> None:
    client = Client()
    client.get("/login?name=a")
    assert client.get("/ended-meanwhile").status_code == 400
    assert ledger.count() == 0
    session = made(a=1)
    again = SessionStore(session.session_key)
    again["b"] = 2
    ledger.revoke_all(next(iter(ledger.sessions())).principal)
    with pytest.raises(UpdateError):
        again.save()
    assert dict(SessionStore(session.session_key).items()) == {}


def test_it_lasts_as_django_says(ledger: Ledger, clock: Clock) -> None:
    session = made(a=1)
    assert expiry(ledger, session) == clock.now + AGE
    clock.advance(timedelta(days=1))
    again = SessionStore(session.session_key)
    again["a"] = 2
    again.save()
    assert expiry(ledger, session) == clock.now + AGE
    again.set_expiry(60)
    again.save()
    assert expiry(ledger, session) == clock.now + timedelta(seconds=60)
    clock.advance(timedelta(seconds=60))
    assert not SessionStore().exists(session.session_key)


def expiry(ledger: Ledger, session: SessionStore) -> Any:
    found = ledger.get(session.session_key)
    assert found is not None
    return found.expires_at


def set_test_cookie(session: SessionStore) -> None:
    session.set_test_cookie()


def test_a_change_does_not_put_off_the_end_of_an_idle_session(ledger: Ledger, clock: Clock) -> None:
    hour = timedelta(hours=1)
    log = open_log("memory:")
    told = {"SESSIONS": lambda: Ledger(log, clock=clock, policy=Policy(idle_timeout=hour))}
    with override_settings(SESSIONLEDGER=told):
        key = made(a=1).session_key
        for change in (set_test_cookie, clear):
            clock.advance(timedelta(minutes=30))
            session = SessionStore(key)
            change(session)
            session.save()
            found = Ledger(log, clock=clock).get(str(key))
            assert found is not None
            assert found.expires_at == clock.now + hour
    log.close()


def test_an_expiry_in_the_past_ends_it(ledger: Ledger) -> None:
    session = made(a=1)
    session.set_expiry(-1)
    session.save()
    assert ledger.get(session.session_key) is None


def test_a_session_that_is_over_at_once_is_not_begun(ledger: Ledger) -> None:
    session = SessionStore()
    session.set_expiry(-1)
    session.save()
    assert session.session_key is not None
    assert not SessionStore().exists(session.session_key)
    session.set_expiry(60)
    session.save()
    assert SessionStore().exists(session.session_key)


def test_clearing_ends_all_that_lapsed(ledger: Ledger, clock: Clock) -> None:
    for _ in range(2500):
        ledger.create("visitor:1", ttl=timedelta(seconds=1))
    clock.advance(timedelta(hours=1))
    SessionStore.clear_expired()
    assert ledger.sweep() == 0


def test_clearing_writes_down_what_lapsed(ledger: Ledger, clock: Clock) -> None:
    made(a=1)
    clock.advance(AGE + timedelta(hours=1))
    SessionStore.clear_expired()
    assert [entry.kind for entry in events(ledger)] == ["session_created", "session_expired"]


def events(ledger: Ledger) -> list[Any]:
    handle = next(iter(ledger.sessions(state="all"))).handle
    return list(ledger.history(handle=handle))


def test_a_limit_for_each_principal_is_none_for_visitors_together(ledger: Ledger) -> None:
    told = {"SESSIONS": lambda: Ledger.open("memory:", policy=Policy(max_sessions_per_principal=1))}
    with override_settings(SESSIONLEDGER=told):
        assert made(a=1).session_key != made(a=1).session_key
        made(_auth_user_id="7")
        with pytest.raises(SessionLimitReached):
            made(_auth_user_id="7")


def test_coroutines(ledger: Ledger) -> None:
    async def put() -> str:
        client = AsyncClient()
        await client.get("/aput?a=1")
        await client.get("/aput?b=2")
        return key_of(client)

    key = asyncio.run(put())
    assert dict(SessionStore(key).items()) == {"a": "1", "b": "2"}

    async def cycle() -> SessionStore:
        session = SessionStore(key)
        await session.acycle_key()
        await session.asave()
        return session

    cycled = asyncio.run(cycle())
    assert (SessionStore().exists(key), dict(cycled.items())) == (False, {"a": "1", "b": "2"})


def test_a_new_session_has_a_key_at_once(ledger: Ledger) -> None:
    session = SessionStore()
    session.create()
    assert SessionStore().exists(session.session_key)
    assert dict(session.items()) == {}


def test_the_engine_says_which_setting_it_lacks() -> None:
    with override_settings(SESSIONLEDGER={}), pytest.raises(ImproperlyConfigured, match="SESSIONS"):
        SessionStore("a" * 32).load()


@pytest.mark.middle
def test_another_process_shuts_the_door(tmp_path: Path) -> None:
    app = "tests.integrations.apps.django_sessions_app:served()"
    with ExitStack() as stack:
        store = stack.enter_context(Ledger.open(ledger_in(tmp_path)))
        one, other = (stack.enter_context(served("gunicorn", app, tmp_path)) for _ in range(2))
        made = one.get("/put?a=1")
        key = {"Cookie": f"sessionid={made.cookies['sessionid']}"}
        assert other.get("/put?b=2", headers=key).json()["session"] == {"a": "1", "b": "2"}
        assert one.get("/", headers=key).json()["session"] == {"a": "1", "b": "2"}
        (session,) = store.sessions()
        store.revoke(handle=session.handle)
        for client in (one, other):
            client.cookies.clear()
            assert client.get("/", headers=key).json()["session"] == {}


def test_an_identity_provider_logs_a_user_out(
    ledger: Ledger, users: dict[str, str], tmp_path: Path
) -> None:
    """The principal is a primary key, which the application looks up for the name there."""
    receiver = LogoutReceiver(providing.provider(tmp_path), users.get)
    view = backchannel_logout(receiver, store=configuration.engine_store)
    clients = {name: Client() for name in users}
    for name, client in clients.items():
        client.force_login(get_user_model().objects.get(pk=users[name]))
    token = providing.logout_token(sub="a")
    request = RequestFactory().post("/", providing.form(token), content_type=FORM)
    assert view(request).status_code == 200
    live = [session.principal for session in ledger.sessions()]
    assert live == [users["b"]]
