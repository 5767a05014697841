"""Django's error reports, as they are mailed to `ADMINS` and shown in debug mode, show no token."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.signals import got_request_exception
from django.http import HttpRequest
from django.test import Client, override_settings
from django.views.debug import ExceptionReporter

from sessionledger import SessionStore as Ledger
from sessionledger import open_log
from sessionledger.integrations.django.sessions import SessionStore
from tests.integrations.apps.django_app import set_up
from tests.integrations.apps.django_sessions_app import ENGINE, MIDDLEWARE
from tests.integrations.django_site import CoroutineSite, DjangoSite, running
from tests.integrations.site import COOKIE, OWN
from tests.reported import frames_in, raised_by, shown

set_up()


@contextmanager
def reports() -> Iterator[list[str]]:
    """The reports of all requests that fail meanwhile."""
    written: list[str] = []

    def report(request: HttpRequest, **_: Any) -> None:
        for is_email in (True, False):
            reporter = ExceptionReporter(request, *sys.exc_info(), is_email=is_email)
            written.extend((reporter.get_traceback_html(), reporter.get_traceback_text()))

    got_request_exception.connect(report)
    try:
        yield written
    finally:
        got_request_exception.disconnect(report)


def check(written: list[str], token: str, shown: str) -> None:
    assert len(written) == 4
    for report in written:
        assert shown in report, "it is a report of that request"
        assert token not in report
        assert token[-24:] not in report


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("kind", [DjangoSite, CoroutineSite])
@pytest.mark.parametrize("header", ["Cookie", "Authorization"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/required"),
        ("POST", "/logout"),
        ("POST", "/rotate"),
        ("POST", "/login?principal=b"),
    ],
)
def test_no_report_shows_the_token_of_a_request(
    kind: type[DjangoSite | CoroutineSite], header: str, method: str, path: str, debug: bool
) -> None:
    with running(kind, DEBUG=debug) as site, reports() as written:
        assert site("GET", "/open").status == 200, "the store is open"
        token = site.create().token
        site.log.close()
        credential = f"{COOKIE}={token}" if header == "Cookie" else f"Bearer {token}"
        assert site.ask(method, path, [*OWN.items(), (header, credential)]).status == 500
    check(written, token, path.partition("?")[0])


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", ["sessionid", "__Host-sessionid"])
def test_no_report_shows_the_key_of_djangos_session(name: str, debug: bool) -> None:
    log = open_log("memory:")
    token = Ledger(log).create("visitor:1").token
    with (
        override_settings(
            DEBUG=debug,
            SESSIONLEDGER={"SESSIONS": lambda: Ledger(log)},
            SESSION_ENGINE=ENGINE,
            SESSION_COOKIE_NAME=name,
            MIDDLEWARE=MIDDLEWARE,
            ROOT_URLCONF="tests.integrations.apps.django_sessions_app",
        ),
        reports() as written,
    ):
        client = Client(raise_request_exception=False, headers={"Cookie": f"{name}={token}"})
        assert client.get("/").status_code == 200
        log.close()
        assert client.get("/").status_code == 500
    check(written, token, "memory")


CALLS: dict[str, Callable[[SessionStore, str], Any]] = {
    "exists": lambda session, key: session.exists(key),
    "aexists": lambda session, key: asyncio.run(session.aexists(key)),
    "delete": lambda session, _: session.delete(),
    "delete by key": lambda session, key: session.delete(key),
    "save": lambda session, _: session.save(),
    "asave": lambda session, _: asyncio.run(session.asave()),
    "load": lambda session, _: session.load(),
    "cycle_key": lambda session, _: session.cycle_key(),
    "flush": lambda session, _: session.flush(),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_frame_of_the_engine_shows_the_key(name: str) -> None:
    log = open_log("memory:")
    with override_settings(SESSIONLEDGER={"SESSIONS": lambda: Ledger(log)}):
        session = SessionStore()
        session["basket"] = "tea"
        session.save()
        key = session.session_key
        assert key is not None
        session["basket"] = "coffee"
        log.close()
        error = raised_by(lambda: CALLS[name](session, key))
    assert frames_in(error) > 1
    assert shown(error, key) == []
