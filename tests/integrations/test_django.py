"""Django: the suite with views of both colours, its own protection, and servers of both kinds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.test import Client, RequestFactory, override_settings
from django.urls import path
from django.views.decorators.cache import cache_page
from django.views.decorators.vary import vary_on_headers

from sessionledger import SessionStore, StoreClosed
from sessionledger.integrations.django import LedgerMiddleware, Refused, required, store
from sessionledger.testing.fixtures import PATIENCE, concurrently
from tests.integrations.apps.django_app import current
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


class Cached:
    """Views that Django's own cache stores, with the decorators in either order."""

    urlpatterns: ClassVar = [
        path("inside", cache_page(60)(required(current))),
        path("outside", required(cache_page(60)(vary_on_headers("Cookie")(current)))),
    ]


@pytest.mark.parametrize("page", ["/inside", "/outside"])
def test_a_cached_view_shows_nobody_the_page_of_another(page: str) -> None:
    with running(DjangoSite, ROOT_URLCONF=Cached) as site:
        for name in ("alice", "bob", "carol"):
            assert site("GET", page, cookie=site.create(name).token).text == name
        assert site("GET", page).status == 401


def test_djangos_cache_of_a_whole_site_keeps_users_apart() -> None:
    first, last = (
        f"django.middleware.cache.{one}CacheMiddleware" for one in ("Update", "FetchFrom")
    )
    ours = "sessionledger.integrations.django.LedgerMiddleware"
    with running(DjangoSite, MIDDLEWARE=[first, ours, last]) as site:
        for _ in range(2):
            for page in ("/current", "/shared", "/required"):
                for name in ("alice", "bob"):
                    assert site("GET", page, cookie=site.create(name).token).text == name
            assert site("GET", "/shared").text == "nobody"


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


def test_threads_that_open_at_the_same_time_get_one_store() -> None:
    both = threading.Barrier(2)
    opened: list[SessionStore] = []

    def open_beside_the_other() -> SessionStore:
        both.wait(PATIENCE)
        opened.append(SessionStore.open("memory:"))
        return opened[-1]

    with override_settings(SESSIONLEDGER={"OPEN": open_beside_the_other}):
        first, second = concurrently(store, store)
        assert first is second
        (other,) = [one for one in opened if one is not first]
        with pytest.raises(StoreClosed):
            other.count()
        assert first.count() == 0


@pytest.mark.middle
def test_another_process_shuts_the_door(tmp_path: Path) -> None:
    check_two_servers("gunicorn", f"{APP}:served()", tmp_path)


@pytest.mark.middle
def test_another_process_shuts_the_door_on_an_event_loop(tmp_path: Path) -> None:
    check_two_servers("uvicorn", f"{APP}:served_to_loops", tmp_path, "--factory")


@pytest.mark.middle
def test_workers_that_were_forked_from_an_open_store_see_each_other(tmp_path: Path) -> None:
    check_forked_workers(f"{APP}:served()", tmp_path)
