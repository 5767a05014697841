"""A plugin of pytest: what others try their own sessions with is tried with ours.

It puts our sessions in the place of those of Flask and Starlette, and writes what became of each
test to the file that `TOLD` names. It imports nothing of `tests`, which is also a name of theirs.
"""

from __future__ import annotations

import json
import os
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest import monkeypatch
from _pytest.compat import NOTSET

from sessionledger import AsyncSessionStore, SessionStore, open_log
from sessionledger.integrations import flask, starlette
from sessionledger.integrations.flask import LedgerSessionInterface
from sessionledger.integrations.own_session.dictionary import SessionDict
from sessionledger.integrations.starlette import LedgerSessionMiddleware

OUTCOMES: dict[str, str] = {}


class Opened(flask.Sessions):
    """Opens stores at the first request: these tests do not call `init_app`."""

    def __init__(self) -> None:
        super().__init__(lambda _: SessionStore.open("memory:"))
        self._stores: weakref.WeakKeyDictionary[Any, SessionStore] = weakref.WeakKeyDictionary()

    def store_of(self, app: Any) -> SessionStore:
        app = getattr(app, "_get_current_object", lambda: app)()
        if app not in self._stores:
            self._stores[app] = SessionStore.open("memory:")
        return self._stores[app]


class Running(starlette.Sessions):
    """Its store is open: these tests run no lifespan."""

    store = AsyncSessionStore(open_log("memory:"))


class Middleware(LedgerSessionMiddleware):
    """Takes the key that ours does not need."""

    def __init__(self, app: Any, secret_key: str, **options: Any) -> None:
        del secret_key
        super().__init__(app, sessions=Running(lambda: Running.store), **options)


def pytest_configure() -> None:
    import flask as framework
    import starlette.middleware.sessions as sessions

    # Flask's own conftest knows it by the name that it had in pytest before 9.
    monkeypatch.notset = getattr(monkeypatch, "notset", NOTSET)  # type: ignore[attr-defined]
    framework.Flask.session_interface = LedgerSessionInterface(Opened())
    # What Flask-Session does to an application.
    sys.modules["flask_session"] = SimpleNamespace(Session=lambda app: None)  # type: ignore[assignment]
    sessions.SessionMiddleware = Middleware  # type: ignore[assignment,misc]
    sessions.Session = SessionDict  # type: ignore[assignment,misc]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        OUTCOMES[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    Path(os.environ["TOLD"]).write_text(json.dumps(OUTCOMES))
