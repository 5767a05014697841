"""The own sessions of Flask, Starlette and Litestar, on the ledger that `LEDGER` names."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask
from flask import request as asked
from flask import session as flask_session
from litestar import Litestar, Request, get
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from sessionledger import AsyncSessionStore, SessionStore
from sessionledger.integrations import flask, litestar, starlette
from sessionledger.integrations.flask import LedgerSessionInterface
from sessionledger.integrations.litestar import LedgerSessionConfig
from sessionledger.integrations.starlette import LedgerSessionMiddleware


def change(session: Any, told: Any) -> dict[str, Any]:
    """What a query asks for: `?put=name`, `?user=name`, `?clear`."""
    if "clear" in told:
        session.clear()
    if "put" in told:
        session[told["put"]] = 1
    if "user" in told:
        session.log_in(told["user"])
    return {"data": dict(session), "principal": session.principal}


def make_store() -> AsyncSessionStore:
    return AsyncSessionStore.open(os.environ["LEDGER"])


def flask_app() -> Flask:
    app, sessions = Flask("own"), flask.Sessions(lambda _: SessionStore.open(os.environ["LEDGER"]))
    sessions.init_app(app)
    app.session_interface = LedgerSessionInterface(sessions)
    app.add_url_rule("/", view_func=lambda: change(flask_session, asked.args))
    return app


def starlette_app() -> Starlette:
    sessions = starlette.Sessions(make_store)

    async def home(request: StarletteRequest) -> JSONResponse:
        return JSONResponse(change(request.session, request.query_params))

    return Starlette(
        routes=[Route("/", home)],
        lifespan=sessions.lifespan,
        middleware=[Middleware(LedgerSessionMiddleware, sessions=sessions)],
    )


def litestar_app() -> Litestar:
    sessions = litestar.Sessions(make_store)

    @get("/")
    async def home(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return change(request.session, request.query_params)

    config = LedgerSessionConfig(sessions=sessions)
    return Litestar([home], plugins=[sessions], middleware=[config.middleware], logging_config=None)
