"""Users who have a session of Django's own engines stay logged in, by the recipe of the docs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client, override_settings
from django.test.utils import modify_settings

from sessionledger import SessionStore as Ledger
from sessionledger import open_log
from tests.integrations.apps.django_app import set_up
from tests.integrations.apps.django_sessions_app import MIDDLEWARE

set_up()

PAGE = Path(__file__).parent.parent.parent / "docs" / "moving.md"
RECIPE = "shop_moving"
OLD = "django.contrib.sessions.backends."


@pytest.fixture(scope="module", autouse=True)
def tables() -> Iterator[None]:
    with modify_settings(INSTALLED_APPS={"append": "django.contrib.sessions"}):
        call_command("migrate", verbosity=0)
        get_user_model().objects.create_user("mover", password="secret")
        yield


@pytest.fixture
def recipe() -> Iterator[Any]:
    """The module that the page tells to write."""
    (block,) = (b for b in PAGE.read_text().split("```python\n") if "class SessionStore" in b)
    module = ModuleType(RECIPE)
    exec(block.partition("```")[0], module.__dict__)
    sys.modules[RECIPE] = module
    yield module
    del sys.modules[RECIPE]


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    log = open_log("memory:")
    with override_settings(
        SESSIONLEDGER={"SESSIONS": lambda: Ledger(log)},
        MIDDLEWARE=MIDDLEWARE,
        ROOT_URLCONF="tests.integrations.apps.django_sessions_app",
        ALLOWED_HOSTS=["testserver"],
    ):
        yield Ledger(log)
    log.close()


def logged_in(engine: str) -> Client:
    """A browser with a session of Django's own, before its first request after the change."""
    client = Client()
    with override_settings(SESSION_ENGINE=OLD + engine):
        client.get("/put?basket=tea")
        assert client.get("/login?name=mover").json()["user"] == "mover"
    fresh = Client()  # a client keeps the engine of its first request
    fresh.cookies = client.cookies
    return fresh


@pytest.mark.parametrize("engine", ["db", "cached_db"])
@pytest.mark.parametrize("is_taken_before", [False, True])
@pytest.mark.parametrize("zone", [False, True])
def test_a_user_stays_logged_in(
    ledger: Ledger, recipe: Any, engine: str, is_taken_before: bool, zone: bool
) -> None:
    with override_settings(USE_TZ=zone):
        client = logged_in(engine)
        key = client.cookies["sessionid"].value
        (ends,) = (s.expire_date for s in recipe.live_sessions() if s.session_key == key)
        if is_taken_before:
            recipe.take_all()
        with override_settings(SESSION_ENGINE=RECIPE):
            told = client.get("/").json()
            assert told == {"user": "mover", "session": {"basket": "tea"}}
            (session,) = ledger.sessions()
            assert abs(session.expires_at.timestamp() - ends.timestamp()) < 1e-3
            assert client.get("/put?milk=1").json()["user"] == "mover"
        assert client.cookies["sessionid"].value == key
        assert session.principal == str(get_user_model().objects.get(username="mover").pk)
        assert not recipe.OldSession.objects.filter(session_key=key).exists()


@pytest.mark.parametrize("path", ["/logout", "/clear", "/flush"])
def test_a_user_who_logs_out_is_logged_out(ledger: Ledger, recipe: Any, path: str) -> None:
    client = logged_in("db")
    key = client.cookies["sessionid"].value
    with override_settings(SESSION_ENGINE=RECIPE):
        client.get(path)
        client.cookies["sessionid"] = key
        recipe.take_all()
        assert client.get("/").json()["user"] == ""
    assert ledger.get(key) is None


def test_what_ended_is_not_taken_again(ledger: Ledger, recipe: Any) -> None:
    client = logged_in("db")
    old = recipe.OldSession.objects.get(session_key=client.cookies["sessionid"].value)
    with override_settings(SESSION_ENGINE=RECIPE):
        client.get("/")
        assert ledger.revoke_all(next(iter(ledger.sessions())).principal) == 1
        recipe.OldSession(old.session_key, old.session_data, old.expire_date).save()
        assert client.get("/").json() == {"user": "", "session": {}}


def test_the_serializer_of_the_project_is_used(ledger: Ledger, recipe: Any) -> None:
    with override_settings(SESSION_SERIALIZER="tests.integrations.test_django_sessions.Pickled"):
        client = logged_in("db")
        with override_settings(SESSION_ENGINE=RECIPE):
            told = client.get("/").json()
    assert told == {"user": "mover", "session": {"basket": "tea"}}
