"""One small application on each framework's sessions: ours, and what people have now.

`/begin` begins a session with some data, `/read` answers one value, `/change` counts up another, by
the framework's own session. Each is a factory for its server. All run in the environment of the
peers.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

LIFETIME = 3600
DATA = {"user": "alice", "role": "operator", "basket": ["tea", "milk"], "n": 0}


def _ledger() -> str:
    return f"sqlite:///{Path(os.environ['FOLDER']) / 'sessions.db'}"


def _redis_port() -> int:
    return int(os.environ["REDIS_PORT"])


def flask_ours() -> Any:
    from sessionledger import SessionStore
    from sessionledger.integrations.flask import LedgerSessionInterface, Sessions

    app, sessions = _flask(), Sessions(lambda _: SessionStore.open(_ledger()))
    sessions.init_app(app)
    app.session_interface = LedgerSessionInterface(
        sessions, principal=lambda data: data.get("user")
    )
    return app


def flask_session_redis() -> Any:
    import flask_session
    import redis

    app = _flask()
    app.config.update(
        SESSION_TYPE="redis",
        SESSION_REDIS=redis.Redis(port=_redis_port()),
        SESSION_REFRESH_EACH_REQUEST=False,  # a request that changes nothing writes nothing
    )
    flask_session.Session(app)
    return app


def _flask() -> Any:
    import flask

    app = flask.Flask(__name__)

    @app.get("/begin")
    def begin() -> str:
        flask.session.update(DATA)
        return "begun"

    @app.get("/read")
    def read() -> str:
        return str(flask.session["user"])

    @app.get("/change")
    def change() -> str:
        flask.session["n"] += 1
        return str(flask.session["n"])

    return app


def starlette_ours() -> Any:
    from starlette.middleware import Middleware

    from sessionledger import AsyncSessionStore
    from sessionledger.integrations.starlette import LedgerSessionMiddleware, Sessions

    sessions = Sessions(lambda: AsyncSessionStore.open(_ledger()))
    kept = Middleware(LedgerSessionMiddleware, sessions, principal=lambda data: data.get("user"))
    return _starlette(kept, lifespan=sessions.lifespan)


def starsessions_redis() -> Any:
    import redis.asyncio
    from starlette.middleware import Middleware
    from starsessions import SessionAutoloadMiddleware, SessionMiddleware
    from starsessions.stores.redis import RedisStore

    store = RedisStore(connection=redis.asyncio.Redis(port=_redis_port()))
    kept = Middleware(SessionMiddleware, store=store, lifetime=LIFETIME, cookie_https_only=False)
    return _starlette(kept, Middleware(SessionAutoloadMiddleware))


def _starlette(*middleware: Any, **options: Any) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def begin(request: Any) -> Any:
        request.session.update(DATA)
        return PlainTextResponse("begun")

    async def read(request: Any) -> Any:
        return PlainTextResponse(request.session["user"])

    async def change(request: Any) -> Any:
        request.session["n"] += 1
        return PlainTextResponse(str(request.session["n"]))

    routes = [Route("/begin", begin), Route("/read", read), Route("/change", change)]
    return Starlette(routes=routes, middleware=middleware, **options)


def litestar_ours() -> Any:
    from sessionledger import AsyncSessionStore
    from sessionledger.integrations.litestar import LedgerSessionConfig, Sessions

    plugin = Sessions(lambda: AsyncSessionStore.open(_ledger()))
    config = LedgerSessionConfig(
        sessions=plugin, principal=lambda data: data.get("user"), max_age=LIFETIME
    )
    return _litestar(middleware=[config.middleware], plugins=[plugin])


def litestar_redis() -> Any:
    import redis.asyncio
    from litestar.middleware.session.server_side import ServerSideSessionConfig
    from litestar.stores.redis import RedisStore

    store = RedisStore(redis.asyncio.Redis(port=_redis_port()))
    config = ServerSideSessionConfig(max_age=LIFETIME)
    return _litestar(middleware=[config.middleware], stores={"sessions": store})


def _litestar(**options: Any) -> Any:
    from litestar import Litestar, Request, get

    @get("/begin")
    async def begin(request: Request[Any, Any, Any]) -> str:
        request.session.update(DATA)
        return "begun"

    @get("/read")
    async def read(request: Request[Any, Any, Any]) -> str:
        return str(request.session["user"])

    @get("/change")
    async def change(request: Request[Any, Any, Any]) -> str:
        request.session["n"] += 1
        return str(request.session["n"])

    return Litestar([begin, read, change], **options)


def django_ours() -> Any:
    from sessionledger import SessionStore

    return _django(
        "sessionledger.integrations.django.sessions",
        SESSIONLEDGER={"SESSIONS": lambda: SessionStore.open(_ledger(), topic="django.sessions")},
    )


def django_db() -> Any:
    return _django("django.contrib.sessions.backends.db")


def django_cached_db() -> Any:
    return _django("django.contrib.sessions.backends.cached_db")


def _django(engine: str, **more: Any) -> Any:
    """One SQLite file, as durable as ours and as quick as it gets: WAL, connections kept."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    def begin(request: Any) -> Any:
        request.session.update(DATA)
        return HttpResponse("begun")

    def read(request: Any) -> Any:
        return HttpResponse(request.session["user"])

    def change(request: Any) -> Any:
        request.session["n"] += 1
        return HttpResponse(str(request.session["n"]))

    class Urls:
        urlpatterns = [path("begin", begin), path("read", read), path("change", change)]  # noqa: RUF012

    pragmas = "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA mmap_size = 1073741824"
    settings.configure(
        SECRET_KEY="of no use outside of this process" * 2,
        USE_TZ=True,
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=Urls,
        INSTALLED_APPS=["django.contrib.sessions"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        SESSION_ENGINE=engine,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(os.environ["FOLDER"]) / "django.db"),
                "CONN_MAX_AGE": None,
                "OPTIONS": {
                    "init_command": pragmas,
                    "transaction_mode": "IMMEDIATE",
                    "timeout": 30,
                },
            }
        },
        **more,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    return get_wsgi_application()
