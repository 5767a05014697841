"""Packages of others that use the framework's own session go on as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import flask_login
import httpx
import pytest
from authlib.integrations.flask_client import OAuth as FlaskOAuth
from authlib.integrations.starlette_client import OAuth as StarletteOAuth
from authlib.integrations.starlette_client import OAuthError
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from sessionledger import AsyncSessionStore, Log, SessionStore, open_log
from sessionledger.integrations import flask as ledger_flask
from sessionledger.integrations import starlette as ledger_starlette
from sessionledger.integrations.flask import LedgerSessionInterface
from sessionledger.integrations.starlette import LedgerSessionMiddleware
from tests.integrations.apps import oauth_provider

HTTPS = "https://localhost"


@pytest.fixture
def log() -> Iterator[Log]:
    log = open_log("memory:")
    yield log
    log.close()


@pytest.fixture
def store(log: Log) -> SessionStore:
    return SessionStore(log)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    with oauth_provider.running() as url:
        yield url


def flask_app(log: Log, name: str) -> Flask:
    app = Flask("shop")
    app.secret_key = "only for tests"  # Flask-Login signs its own cookie with it
    sessions = ledger_flask.Sessions(lambda _: SessionStore(log))
    sessions.init_app(app)
    app.session_interface = LedgerSessionInterface(sessions, principal=lambda data: data.get(name))
    return app


@pytest.fixture
def shop(log: Log) -> Flask:
    """An application with Flask-Login."""
    app = flask_app(log, "_user_id")
    manager = flask_login.LoginManager(app)

    class User(flask_login.UserMixin):
        def __init__(self, id: str) -> None:
            self.id = id

    manager.user_loader(User)

    @app.post("/login/<name>")
    def log_in(name: str) -> str:
        flask_login.login_user(User(name), remember="remember" in flask.request.args)
        flask.flash("welcome")
        return name

    @app.post("/logout")
    @flask_login.login_required
    def log_out() -> str:
        flask_login.logout_user()
        flask.flash("goodbye")
        return "out"

    @app.post("/basket")
    def put() -> str:
        flask.session["basket"] = ["tea"]
        return "put"

    @app.get("/")
    def home() -> dict[str, Any]:
        user = flask_login.current_user
        return {
            "user": user.get_id() if user.is_authenticated else None,
            "basket": flask.session.get("basket"),
            "said": flask.get_flashed_messages(),
            "fresh": flask_login.login_fresh(),
        }

    return app


def test_flask_login_logs_in_and_out(shop: Flask, store: SessionStore) -> None:
    client = shop.test_client()
    assert client.get("/", base_url=HTTPS).json["user"] is None  # type: ignore[index]
    assert store.count() == 0
    client.post("/basket", base_url=HTTPS)
    visitor = client.get_cookie("session").value  # type: ignore[union-attr]
    client.post("/login/alice", base_url=HTTPS)
    token = client.get_cookie("session").value  # type: ignore[union-attr]
    assert store.get(visitor) is None
    assert token != visitor
    told = {"user": "alice", "basket": ["tea"], "said": ["welcome"], "fresh": True}
    assert client.get("/", base_url=HTTPS).json == told
    assert store.count(principal="alice") == 1
    client.post("/logout", base_url=HTTPS)
    told = {"user": None, "basket": ["tea"], "said": ["goodbye"], "fresh": False}
    assert client.get("/", base_url=HTTPS).json == told
    assert (store.count(principal="alice"), store.get(token)) == (0, None)


def test_an_end_reaches_users_of_flask_login(shop: Flask, store: SessionStore) -> None:
    client = shop.test_client()
    client.post("/login/alice", base_url=HTTPS)
    assert store.revoke_all("alice", reason="lost phone") == 1
    assert client.get("/", base_url=HTTPS).json["user"] is None  # type: ignore[index]
    assert client.post("/logout", base_url=HTTPS).status_code == 401


def test_flask_login_remembers_and_asks_for_a_fresh_log_in(
    shop: Flask, store: SessionStore
) -> None:
    client = shop.test_client()
    client.post("/login/alice?remember", base_url=HTTPS)
    client.delete_cookie("session")
    told = client.get("/", base_url=HTTPS).json
    assert told is not None
    assert (told["user"], told["fresh"]) == ("alice", False)
    assert store.count(principal="alice") == 2, "Flask-Login's own cookie begins another session"


def authorized(location: str, user: str) -> str:
    """Where the provider leads the browser back to, as a path here."""
    answer = httpx.get(location, params=dict(parse(location)) | {"user": user})
    assert answer.status_code == 302
    back = urlsplit(answer.headers["location"])
    return f"{back.path}?{back.query}"


def parse(location: str) -> list[tuple[str, str]]:
    return [(name, values[0]) for name, values in parse_qs(urlsplit(location).query).items()]


def registered(oauth: Any, provider: str) -> Any:
    return oauth.register(
        "provider",
        **oauth_provider.CLIENT,
        authorize_url=f"{provider}/authorize",
        access_token_url=f"{provider}/token",
        api_base_url=f"{provider}/",
    )


def test_authlibs_state_is_kept_for_starlette(log: Log, store: SessionStore, provider: str) -> None:
    client = registered(StarletteOAuth(), provider)
    sessions = ledger_starlette.Sessions(lambda: AsyncSessionStore(log))

    async def log_in(request: Request) -> Response:
        answer: Response = await client.authorize_redirect(request, f"{HTTPS}/callback")
        return answer

    async def callback(request: Request) -> Response:
        try:
            token = await client.authorize_access_token(request)
        except OAuthError as error:
            return PlainTextResponse(str(error), 400)
        request.session["user"] = (await client.get("me", token=token)).json()["name"]
        return PlainTextResponse(", ".join(request.session))

    app = Starlette(
        routes=[Route("/login", log_in), Route("/callback", callback)],
        lifespan=sessions.lifespan,
        middleware=[
            Middleware(
                LedgerSessionMiddleware,
                sessions=sessions,
                https_only=True,
                principal=lambda data: data.get("user"),
            )
        ],
    )
    with ExitStack() as stack:
        browser, other = (
            stack.enter_context(TestClient(app, base_url=HTTPS, follow_redirects=False))
            for _ in range(2)
        )
        leads_to = browser.get("/login").headers["location"]
        visitor = browser.cookies["session"]
        back = authorized(leads_to, "alice")
        assert other.get(back).status_code == 400, "the state of another browser"
        assert browser.get(back).text == "user"
        assert browser.cookies["session"] != visitor
        assert (store.get(visitor), store.count(principal="alice")) == (None, 1)
        assert browser.get(back).status_code == 400, "a state serves once"


def test_authlibs_state_is_kept_for_flask(log: Log, store: SessionStore, provider: str) -> None:
    app = flask_app(log, "user")
    client = registered(FlaskOAuth(app), provider)

    @app.get("/login")
    def log_in() -> Any:
        return client.authorize_redirect(f"{HTTPS}/callback")

    @app.get("/callback")
    def callback() -> str:
        token = client.authorize_access_token()
        flask.session["user"] = client.get("me", token=token).json()["name"]
        return ", ".join(flask.session)

    browser = app.test_client()
    back = authorized(browser.get("/login", base_url=HTTPS).headers["location"], "alice")
    assert browser.get(back, base_url=HTTPS).text == "user"
    assert store.count(principal="alice") == 1
