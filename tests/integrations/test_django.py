"""Django: the suite with views of both colours, its own protection, and servers of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.test import Client, RequestFactory, override_settings

from sessionledger import SessionStore, StoreClosed
from sessionledger.integrations.django import LedgerMiddleware, Refused, store
from tests.integrations.conformance import Conformance
from tests.integrations.django_site import CoroutineSite, DjangoSite, running
from tests.integrations.revoking import check_forked_workers, check_two_servers
from tests.integrations.site import HOST, OWN, Site

APP = "tests.integrations.apps.django_app"


class TestDjango(Conformance):
    @pytest.fixture
    def site(self) -> Iterator[Site]:
        with running(DjangoSite) as site:
            yield site

    def test_the_cookie_is_kept_by_the_test_client(self, site: Site) -> None:
        client = Client(headers=OWN)
        client.post("/login?principal=alice", secure=True)
        assert client.get("/required", secure=True).text == "alice"
        client.post("/logout", secure=True)
        assert client.get("/required", secure=True).status_code == 401

    def test_what_a_view_refuses_without_us_is_left_to_django(self, site: Site) -> None:
        middleware = LedgerMiddleware(lambda request: None)
        request = RequestFactory().get("/")
        assert middleware.process_exception(request, PermissionDenied()) is None
        assert issubclass(Refused, PermissionDenied)


class TestDjangoWithCoroutines(Conformance):
    @pytest.fixture
    def site(self) -> Iterator[Site]:
        with running(CoroutineSite, ROOT_URLCONF=f"{APP[:-4]}_coroutines") as site:
            yield site


class TestPlainViewsOnALoop(Conformance):
    """Django runs them in a thread, below a middleware that is awaited."""

    @pytest.fixture
    def site(self) -> Iterator[Site]:
        with running(CoroutineSite) as site:
            yield site


def test_djangos_own_protection_stands_before_ours() -> None:
    own = ["django.middleware.csrf.CsrfViewMiddleware"]
    ours = ["sessionledger.integrations.django.LedgerMiddleware"]
    with running(DjangoSite, MIDDLEWARE=[*own, *ours]) as site:
        token = site.create().token
        client = Client(enforce_csrf_checks=True, headers=OWN)
        cookie = {"Cookie": f"__Host-session={token}"}
        assert client.post("/required", secure=True, headers=cookie).status_code == 403
        secret = "a" * 32
        passing = {"Cookie": f"__Host-session={token}; csrftoken={secret}", "X-CSRFToken": secret}
        told = passing | {"Origin": f"https://{HOST}"}
        assert client.post("/required", secure=True, headers=told).text == "alice"
        evil = told | {"Sec-Fetch-Site": "cross-site"}
        assert client.post("/required", secure=True, headers=evil).status_code == 403


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "must be a dictionary of OPEN"),
        ({"URL": "memory:"}, "must be a dictionary of OPEN"),
        ({}, r"\['OPEN'\] must be a function"),
        ({"OPEN": "memory:"}, r"\['OPEN'\] must be a function"),
        ({"OPEN": lambda: None}, "must open a SessionStore"),
        ({"OPEN": lambda: None, "SETTINGS": {}}, r"\['SETTINGS'\] must be Settings"),
    ],
)
def test_settings_are_checked_when_the_application_is_loaded(told: Any, message: str) -> None:
    with (
        override_settings(SESSIONLEDGER=told),
        pytest.raises(ImproperlyConfigured, match=message),
    ):
        LedgerMiddleware(lambda request: None)


def test_a_store_is_opened_once_and_closed_when_the_setting_changes() -> None:
    with override_settings(SESSIONLEDGER={"OPEN": lambda: SessionStore.open("memory:")}):
        first = store()
        assert store() is first
    with pytest.raises(StoreClosed):
        first.count()


def test_another_process_shuts_the_door(tmp_path: Path) -> None:
    check_two_servers("gunicorn", f"{APP}:served()", tmp_path)


def test_another_process_shuts_the_door_on_an_event_loop(tmp_path: Path) -> None:
    check_two_servers("uvicorn", f"{APP}:served_to_loops", tmp_path, "--factory")


def test_workers_that_were_forked_from_an_open_store_see_each_other(tmp_path: Path) -> None:
    check_forked_workers(f"{APP}:served()", tmp_path)
