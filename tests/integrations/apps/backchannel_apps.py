"""Applications with nothing but a route for logout tokens, of the provider beside the ledger."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sessionledger import AsyncSessionStore, SessionStore
from sessionledger.web.backchannel.receiver import LogoutApplication, LogoutReceiver, receiver_in

PATH = "/backchannel-logout"


def receiver() -> LogoutReceiver:
    return receiver_in(str(Path(os.environ["LEDGER"].removeprefix("sqlite://")).parent / "p.json"))


def open_store() -> AsyncSessionStore:
    return AsyncSessionStore.open(os.environ["LEDGER"])


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Route

    from sessionledger.integrations.starlette import Sessions

    sessions = Sessions(open_store)
    application = LogoutApplication(receiver(), lambda: sessions.store)
    return Starlette(
        routes=[Route(PATH, application, methods=["POST"])], lifespan=sessions.lifespan
    )


def fastapi() -> Any:
    from fastapi import FastAPI
    from starlette.routing import Route

    from sessionledger.integrations.fastapi import Sessions

    sessions = Sessions(open_store)
    app = FastAPI(lifespan=sessions.lifespan)
    application = LogoutApplication(receiver(), lambda: sessions.store)
    app.router.routes.append(Route(PATH, application, methods=["POST"]))
    return app


def litestar() -> Any:
    from litestar import Litestar, asgi

    from sessionledger.integrations.litestar import Sessions

    sessions = Sessions(open_store)
    handler = asgi(PATH, copy_scope=True)(LogoutApplication(receiver(), lambda: sessions.store))
    return Litestar([handler], plugins=[sessions])


def flask() -> Any:
    from flask import Flask

    from sessionledger.integrations.flask import Sessions
    from sessionledger.integrations.flask.backchannel import backchannel_logout

    app = Flask("backchannel")
    sessions = Sessions(lambda _: SessionStore.open(os.environ["LEDGER"]))
    sessions.init_app(app)
    view = backchannel_logout(sessions, receiver())
    app.add_url_rule(PATH, view_func=view, methods=["POST"])
    return app


def django(of: Callable[[], Any] | None = None) -> Any:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.urls import path

    settings.configure(
        SECRET_KEY="only for tests",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[
            "django.middleware.csrf.CsrfViewMiddleware",
            "sessionledger.integrations.django.LedgerMiddleware",
        ],
        SESSIONLEDGER={"OPEN": lambda: SessionStore.open(os.environ["LEDGER"])},
        LOGGING_CONFIG=None,
    )
    application = (of or get_wsgi_application)()
    from sessionledger.integrations.django.backchannel import backchannel_logout

    urlpatterns.append(path(PATH[1:], backchannel_logout(receiver())))
    return application


def django_on_a_loop() -> Any:
    from django.core.asgi import get_asgi_application

    return django(get_asgi_application)


urlpatterns: list[Any] = []
