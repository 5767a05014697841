"""`flask.session` in the ledger: what Flask promises of it, and what it gets besides."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import flask
import pytest
from flask import Flask
from markupsafe import Markup
from werkzeug.http import dump_cookie, parse_cookie

from sessionledger import Log, Policy, SessionStore
from sessionledger.integrations import Cookie, Settings
from sessionledger.integrations.flask import LedgerSessionInterface, Sessions
from sessionledger.integrations.flask.devices import blueprint
from sessionledger.testing import Clock
from tests.integrations.own_session import (
    COOKIE,
    LIFETIME,
    SETTINGS,
    Answer,
    OwnSessionConformance,
    OwnSite,
)
from tests.reported import raised_by


class FlaskOwnSite(OwnSite):
    """Asked through Flask's test client."""

    def __init__(self, log: Log, clock: Clock, policy: Policy) -> None:
        super().__init__(log, clock, policy)
        self.start()

    def start(self) -> None:
        log: Any = self.log
        sessions = Sessions(
            lambda _: SessionStore(log, policy=self.policy, clock=self.clock), settings=SETTINGS
        )
        self.app = Flask("own")
        self.app.config["PERMANENT_SESSION_LIFETIME"] = LIFETIME
        sessions.init_app(self.app)
        self.app.session_interface = self.interface = LedgerSessionInterface(
            sessions, principal=None if self.principal_of is None else self.principal
        )
        self.app.add_url_rule("/", view_func=lambda: self.do(flask.session))

    def raised(self, cookies: list[str]) -> BaseException:
        self.app.config["PROPAGATE_EXCEPTIONS"] = True
        return raised_by(lambda: self.ask(cookies))

    def ask(self, cookies: list[str]) -> Answer:
        client = self.app.test_client(use_cookies=False)
        headers = [("Cookie", cookie) for cookie in cookies]
        answer = client.get("/", headers=headers, base_url="https://testserver")
        told = [line.partition(";")[0] for line in answer.headers.getlist("Set-Cookie")]
        cookie = [one.removeprefix(f"{COOKIE}=") for one in told]
        said = answer.json["said"] if answer.status_code == 200 and answer.json else None
        headers_told = {name.lower(): value for name, value in answer.headers}
        return Answer(answer.status_code, said, cookie[0] if cookie else None, headers_told)


class TestFlaskSession(OwnSessionConformance[FlaskOwnSite]):
    def make(self, log: Log, clock: Clock, policy: Policy) -> FlaskOwnSite:
        return FlaskOwnSite(log, clock, policy)

    @pytest.mark.parametrize(
        "value",
        [
            (1, [2, (3,)]),
            b"\xff",
            Markup("<b>"),
            UUID(int=7),
            datetime(2026, 5, 2, tzinfo=UTC),
            {" t": "not a tuple"},
            {" di": {" t__": 1}},
            float("inf"),
            10**400,
            "\ud800",
            {"b": 1, "a": 2},
        ],
        ids=lambda value: repr(value)[:20],
    )
    @pytest.mark.parametrize("name", ["it", " t", " di"])
    def test_a_value_comes_back_as_from_flasks_own_cookie(
        self, site: FlaskOwnSite, value: Any, name: str
    ) -> None:
        token = site.begin(other=1)
        site(lambda session: session.update({name: value}), token)
        serializer = flask.sessions.session_json_serializer
        with site.app.app_context():
            expected = serializer.loads(serializer.dumps({name: value}))
        told: list[Any] = []
        site(lambda session: told.append(session[name]), token)
        assert [repr(one) for one in told] == [repr(expected[name])]
        with site.writing():
            site(lambda session: session.update({name: value}), token)

    def test_a_tag_of_the_application_is_used(self, site: FlaskOwnSite) -> None:
        class TagComplex(flask.json.tag.JSONTag):
            key = " c"

            def check(self, value: Any) -> bool:
                return isinstance(value, complex)

            def to_json(self, value: Any) -> Any:
                return [value.real, value.imag]

            def to_python(self, value: Any) -> Any:
                return complex(*value)

        serializer = flask.json.tag.TaggedJSONSerializer()
        serializer.register(TagComplex)
        site.interface.serializer = serializer
        token = site.begin(it=1 + 2j)
        assert site(lambda session: str(session["it"]), token).said == "(1+2j)"

    def test_another_serializer_is_stored_as_its_text(self, site: FlaskOwnSite) -> None:
        class Reversed:
            def dumps(self, data: Any) -> str:
                return json.dumps(data)[::-1]

            def loads(self, text: str) -> Any:
                return json.loads(text[::-1])

        site.interface.serializer = Reversed()
        token = site.begin(a={"z": 1, "b": 2})
        assert site.data(token) == {"a": {"z": 1, "b": 2}}
        session = site.store.get(token)
        assert session is not None
        assert isinstance(session.attributes["a"][2], str)

    def test_new_tells_whether_it_is_in_the_ledger(self, site: FlaskOwnSite) -> None:
        assert site(lambda session: session.new).said is True
        assert site(lambda session: session.new, site.begin(a=1)).said is False

    def test_vary_is_said_where_the_session_was_looked_at(self, site: FlaskOwnSite) -> None:
        token = site.begin(a=1)
        assert "vary" not in site(lambda _: 1, token).headers
        assert site(lambda session: session.get("a"), token).headers["vary"] == "Cookie"

    def test_a_request_that_does_not_look_needs_no_ledger(self, site: FlaskOwnSite) -> None:
        site.log.away = True
        assert site(lambda _: 1, "a" * 40).status == 200

    def test_an_application_that_was_not_initialised_is_told_so(self, site: FlaskOwnSite) -> None:
        app = Flask("forgotten")
        sessions = Sessions(lambda _: site.store)
        app.session_interface = LedgerSessionInterface(sessions)
        app.config["PROPAGATE_EXCEPTIONS"] = True
        with pytest.raises(RuntimeError, match="init_app"):
            app.test_client().get("/")

    def test_by_the_name_of_its_cookie_the_request_session_is_the_same(
        self, site: FlaskOwnSite
    ) -> None:
        sessions = Sessions(lambda _: site.store, settings=Settings(cookie=Cookie(name=COOKIE)))
        app = Flask("both")
        sessions.init_app(app)
        app.register_blueprint(blueprint(sessions))
        app.session_interface = LedgerSessionInterface(sessions)
        view = sessions.required(lambda: sessions.request_session.required().principal)
        app.add_url_rule("/account", "account", view)
        app.add_url_rule("/login", "login", lambda: cast(Any, flask.session).log_in("alice") or "")
        app.add_url_rule("/put", "put", lambda: flask.session.update(a=1) or "")
        client = app.test_client()
        client.get("/put")
        assert client.get("/account").status_code == 401, "an anonymous session is no log in"
        client.get("/login")
        assert client.get("/account").text == "alice"
        listed = client.get("/sessions", headers={"Accept": "application/json"}).json
        assert listed is not None
        assert [one["current"] for one in listed["sessions"]] == [True]

    def test_flashed_messages_are_shown_once(self, site: FlaskOwnSite) -> None:
        token = site(lambda _: flask.flash("saved", "info")).cookie

        def messages(_: Any) -> Any:
            return flask.get_flashed_messages(with_categories=True)

        assert site(messages, token).said == [["info", "saved"]]
        assert site(messages, token).said == []

    def test_a_permanent_session_has_a_cookie_that_lasts(self, site: FlaskOwnSite) -> None:
        token = site.begin(a=1)
        answer = site(lambda session: setattr(session, "permanent", True), token)
        assert "Expires=" in answer.headers["set-cookie"]
        # It is sent again with each answer, as SESSION_REFRESH_EACH_REQUEST says.
        with site.writing():
            assert site(lambda session: session.permanent, token).cookie == token
        site.app.config["SESSION_REFRESH_EACH_REQUEST"] = False
        assert site(lambda session: session.permanent, token).cookie is None

    def test_each_visitor_may_be_permanent(self, site: FlaskOwnSite) -> None:
        with site.writing():
            assert site(lambda session: setattr(session, "permanent", True)).cookie is None

    def test_requests_put_off_the_end_unless_the_configuration_says_no(
        self, site: FlaskOwnSite
    ) -> None:
        sliding = site.begin(a=1)
        site.app.config["SESSION_REFRESH_EACH_REQUEST"] = False
        fixed = site.begin(a=1)
        site.clock.advance(LIFETIME - timedelta(minutes=1))
        assert (site.data(sliding), site.data(fixed)) == ({"a": 1}, {"a": 1})
        site.clock.advance(timedelta(hours=1))
        assert (site.data(sliding), site.data(fixed)) == ({"a": 1}, {})

    def test_a_short_lifetime_is_put_off_in_time(self, site: FlaskOwnSite) -> None:
        site.app.config["PERMANENT_SESSION_LIFETIME"] = timedelta(minutes=2)
        token = site.begin(a=1)
        for _ in range(5):
            site.clock.advance(timedelta(minutes=1))
            assert site.data(token) == {"a": 1}
        site.clock.advance(timedelta(minutes=3))
        assert site.data(token) == {}

    def test_the_cookie_is_as_the_configuration_says(self, site: FlaskOwnSite) -> None:
        site.app.config.update(
            SESSION_COOKIE_SECURE=True,
            SESSION_COOKIE_SAMESITE="Strict",
            SESSION_COOKIE_PATH="/shop",
            SESSION_COOKIE_DOMAIN="example.org",
            SESSION_COOKIE_PARTITIONED=True,
        )
        answer = site(lambda session: session.update(a=1))
        expected = dump_cookie(
            "session",
            answer.cookie or "",
            path="/shop",
            domain="example.org",
            secure=True,
            httponly=True,
            samesite="Strict",
            partitioned=True,
        )
        assert answer.headers["set-cookie"] == expected
        removed = site(lambda session: session.clear(), answer.cookie)
        assert parse_cookie(removed.headers["set-cookie"])["session"] == ""
        assert "Partitioned" in removed.headers["set-cookie"]

    def test_a_test_may_open_a_transaction(self, site: FlaskOwnSite) -> None:
        client = site.app.test_client()
        with client.session_transaction() as session:
            session["a"] = {"b": 1}
        site.view = dict
        assert client.get("/").json == {"said": {"a": {"b": 1}}}
        with client.session_transaction() as session:
            assert session["a"] == {"b": 1}
            session.clear()
        assert client.get("/").json == {"said": {}}

    def test_an_error_page_is_sent_with_what_changed(self, site: FlaskOwnSite) -> None:
        def view(session: Any) -> None:
            session["a"] = 1
            raise KeyError

        answer = site(view)
        assert answer.status == 500
        assert site.data(answer.cookie) == {"a": 1}

    def test_what_cannot_be_stored_is_an_error_and_changes_nothing(
        self, site: FlaskOwnSite
    ) -> None:
        token = site.begin(a=1)
        assert site(lambda session: session.update(a=object()), token).status == 500
        assert site(lambda session: session.update(a="x" * 70_000), token).status == 500
        assert site.data(token) == {"a": 1}
