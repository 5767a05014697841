"""`request.session` in the ledger: what Django promises of it, and what it gets besides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.base import UpdateError
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import AsyncClient, Client, override_settings

from sessionledger import Policy, SessionLimitReached, open_log
from sessionledger import SessionStore as Ledger
from sessionledger.integrations.django.sessions import VISITOR, SessionStore
from sessionledger.testing import Clock
from tests.integrations.apps.django_app import set_up
from tests.integrations.apps.django_sessions_app import ENGINE, MIDDLEWARE
from tests.integrations.processes import ledger_in, served

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
    assert visitor.principal.startswith(VISITOR)
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


def test_what_json_has_no_words_for_is_refused(ledger: Ledger) -> None:
    session = SessionStore()
    session["it"] = object()
    with pytest.raises(TypeError):
        session.save()
    assert ledger.count() == 0


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


def test_an_expiry_in_the_past_ends_it(ledger: Ledger) -> None:
    session = made(a=1)
    session.set_expiry(-1)
    session.save()
    assert ledger.get(session.session_key) is None


def test_clearing_writes_down_what_lapsed(ledger: Ledger, clock: Clock) -> None:
    made(a=1)
    clock.advance(AGE + timedelta(hours=1))
    SessionStore.clear_expired()
    assert [entry.kind for entry in events(ledger)] == ["session_created", "session_expired"]


def events(ledger: Ledger) -> list[Any]:
    handle = next(iter(ledger.sessions(live=False))).handle
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
