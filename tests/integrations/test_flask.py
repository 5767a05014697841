"""Flask: the suite, its error handlers, and a server that forks."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException

from sessionledger import Log, SessionStore, StoreClosed
from sessionledger.integrations import Cookie, Settings
from sessionledger.integrations.flask import Sessions
from sessionledger.testing import Clock
from tests.integrations.apps import flask_app
from tests.integrations.conformance import PLAIN, Conformance
from tests.integrations.revoking import check_forked_workers, check_two_servers
from tests.integrations.site import HOST, OWN, POLICY, Answer, Headers, Site, opened
from tests.reported import raised_by

APP = "tests.integrations.apps.flask_app:served()"


class FlaskSite(Site):
    """Asked through Flask's test client."""

    def __init__(self, log: Log, clock: Clock) -> None:
        super().__init__(log, clock)
        self.app = flask_app.make(lambda _: SessionStore(log, policy=POLICY, clock=clock))
        self.client = self.app.test_client(use_cookies=False)

    def ask(self, method: str, path: str, headers: Headers) -> Answer:
        url = f"https://{HOST}"
        answer = self.client.open(path, method=method, headers=list(headers), base_url=url)
        return Answer(answer.status_code, answer.text, list(answer.headers))

    def raised(self, method: str, path: str, headers: Headers) -> BaseException:
        self.app.config["PROPAGATE_EXCEPTIONS"] = True
        return raised_by(lambda: self.ask(method, path, headers))


class TestFlask(Conformance):
    @pytest.fixture
    def site(self) -> Iterator[Site]:
        with opened(FlaskSite) as site:
            yield site

    def test_a_context_around_requests_mixes_nothing_up(self, site: FlaskSite) -> None:
        alice, bob = site.create("alice"), site.create("bob")
        with site.app.app_context():
            assert site("GET", "/current", bearer=alice.token).text == "alice"
            assert site("GET", "/current", bearer=bob.token).text == "bob"
            site.store.revoke(handle=bob.handle)
            assert site("GET", "/current", bearer=bob.token).text == "nobody"
            assert site("GET", "/current").text == "nobody"

    def test_the_applications_own_error_handlers_are_asked(self, site: FlaskSite) -> None:
        @site.app.errorhandler(401)
        def unauthorized(error: HTTPException) -> tuple[str, int, dict[str, str]]:
            return "log in first", 401, dict(error.get_headers())

        site.app.register_error_handler(403, lambda error: (error.denied.code, 403))
        answer = site("GET", "/required")
        assert (answer.text, answer.one("www-authenticate")) == ("log in first", PLAIN)
        token = site.create().token
        assert site("GET", "/admin", bearer=token).text == "insufficient_scope"

    def test_views_may_be_coroutines(self, site: FlaskSite) -> None:
        sessions = Sessions(lambda _: site.store)
        app = Flask("asynchronous")
        sessions.init_app(app)

        @app.get("/")
        @sessions.required
        async def home() -> str:
            return sessions.request_session.required().principal

        token = site.create().token
        client = app.test_client()
        assert client.get("/", headers={"Authorization": f"Bearer {token}"}).text == "alice"
        assert client.get("/").status_code == 401

    def test_a_cookie_is_set_though_the_view_failed(self, site: FlaskSite) -> None:
        sessions = Sessions(lambda _: site.store, settings=Settings(cookie=Cookie(name="b-s")))
        app = Flask("failing")
        sessions.init_app(app)

        @app.post("/")
        def failing() -> str:
            sessions.request_session.log_in("alice")
            raise KeyError

        answer = app.test_client().post("/", headers=OWN)
        assert (answer.status_code, answer.headers["Set-Cookie"][:4]) == (500, "b-s=")

    def test_the_store_is_closed_when_the_application_is_gone(self) -> None:
        store = SessionStore.open("memory:")
        app = Flask("short-lived")
        Sessions(lambda _: store).init_app(app)
        assert store.count() == 0
        del app
        gc.collect()
        with pytest.raises(StoreClosed):
            store.count()


@pytest.mark.middle
def test_another_process_shuts_the_door(tmp_path: Path) -> None:
    check_two_servers("gunicorn", APP, tmp_path)


def test_workers_that_were_forked_from_an_open_store_see_each_other(tmp_path: Path) -> None:
    check_forked_workers(APP, tmp_path)
