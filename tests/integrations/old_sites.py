"""Small applications on the session libraries of others, from which users move."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import flask
import flask_session
import redis
import redis.asyncio
from litestar import Litestar, Request, get
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.redis import RedisStore
from litestar.testing import TestClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient as StarletteClient
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.stores.redis import RedisStore as StarsessionsStore

COOKIE = "session"
SECRET_KEY = "of an application before"


def flask_app(**config: Any) -> flask.Flask:
    """`/put` changes the session by the query, `/` answers it."""
    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY=SECRET_KEY, **config)

    @app.get("/put")
    def put() -> Any:
        flask.session.update(flask.request.args.to_dict())
        return dict(flask.session)

    @app.get("/")
    def whole() -> Any:
        return dict(flask.session)

    return app


def in_flask_session(url: str, data: Mapping[str, Any], **config: Any) -> str:
    """The cookie of a browser, for a session that Flask-Session stored in Redis."""
    client = redis.Redis.from_url(url)
    app = flask_app(SESSION_TYPE="redis", SESSION_REDIS=client, **config)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        flask_session.Session(app)  # of SESSION_USE_SIGNER
    app.add_url_rule("/fill", view_func=lambda: flask.session.update(data) or "filled")
    browser = app.test_client()
    assert browser.get("/fill").text == "filled"
    client.close()
    cookie = browser.get_cookie(COOKIE)
    assert cookie is not None
    return cookie.value


def in_starsessions(url: str, data: Mapping[str, Any], **kept: Any) -> str:
    """The same of starsessions."""

    async def fill(request: StarletteRequest) -> JSONResponse:
        request.session.update(data)
        return JSONResponse("filled")

    client = redis.asyncio.Redis.from_url(url)
    store = StarsessionsStore(connection=client, **kept)
    sessions = Middleware(SessionMiddleware, store=store, lifetime=3600, cookie_https_only=False)
    autoload = Middleware(SessionAutoloadMiddleware)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await client.aclose()

    routes = [Route("/fill", fill)]
    app = Starlette(routes=routes, middleware=[sessions, autoload], lifespan=lifespan)
    with StarletteClient(app) as browser:
        assert browser.get("/fill").json() == "filled"
        return browser.cookies[COOKIE]


def in_litestar(url: str, data: Mapping[str, Any]) -> str:
    """The same of Litestar."""

    @get("/fill")
    async def fill(request: Request[Any, Any, Any]) -> str:
        request.set_session(dict(data))
        return "filled"

    store = RedisStore(redis.asyncio.Redis.from_url(url), handle_client_shutdown=True)
    config = ServerSideSessionConfig(max_age=3600)
    app = Litestar([fill], middleware=[config.middleware], stores={"sessions": store})
    with TestClient(app) as browser:
        assert browser.get("/fill").text == "filled"
        return browser.cookies[COOKIE]
