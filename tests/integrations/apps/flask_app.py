"""The application of the conformance suite, in Flask."""

from __future__ import annotations

import os
from collections.abc import Callable

from flask import Flask, request

from sessionledger import Session, SessionStore
from sessionledger.integrations.flask import Sessions
from sessionledger.integrations.flask.devices import blueprint
from tests.integrations.site import ADMIN, PAGE, RECENT, SCOPED, SETTINGS, SHARED

BOTH = ["GET", "POST"]


def name_of(session: Session | None) -> str:
    return "nobody" if session is None else session.principal


def make(open_store: Callable[[Flask], SessionStore]) -> Flask:
    sessions = Sessions(open_store, settings=SETTINGS)
    app = Flask(__name__)
    sessions.init_app(app)
    read(app, sessions)
    change(app, sessions)
    app.register_blueprint(blueprint(sessions, PAGE), url_prefix="/account")
    return app


def read(app: Flask, sessions: Sessions) -> None:
    @app.get("/open")
    def opened() -> str:
        return "open"

    @app.get("/worker")
    def worker() -> str:
        return str(os.getpid())

    @app.get("/shared")
    def shared() -> tuple[str, dict[str, str]]:
        return name_of(sessions.current), SHARED

    @app.route("/current", methods=BOTH)
    def current() -> str:
        return name_of(sessions.current)

    @app.route("/required", methods=BOTH)
    @sessions.required
    def required() -> str:
        return name_of(sessions.current)

    @app.get("/scoped")
    @sessions.requiring(SCOPED)
    def scoped() -> str:
        return name_of(sessions.current)

    @app.get("/admin")
    @sessions.requiring(ADMIN)
    def admin() -> str:
        return name_of(sessions.current)

    @app.get("/recent")
    @sessions.requiring(RECENT)
    def recent() -> str:
        return name_of(sessions.current)


def change(app: Flask, sessions: Sessions) -> None:
    @app.get("/twice")
    def twice() -> str:
        first = sessions.request_session.required()
        sessions.store.revoke(handle=first.handle)
        second = sessions.request_session.required()
        return f"{first.principal} {second.principal}"

    @app.post("/login")
    def log_in() -> str:
        sessions.request_session.log_in(
            request.args["principal"], parent=request.args.get("parent")
        )
        return name_of(sessions.current)

    @app.route("/logout", methods=BOTH)
    def log_out() -> str:
        sessions.request_session.log_out()
        return name_of(sessions.current)

    @app.post("/logout-everywhere")
    def log_out_everywhere() -> str:
        return str(sessions.request_session.log_out_everywhere())

    @app.post("/change")
    def change_credentials() -> str:
        sessions.request_session.change_credentials()
        return name_of(sessions.current)

    @app.post("/rotate")
    @app.post("/become")
    def rotate() -> str:
        sessions.request_session.rotate(principal=request.args.get("principal"))
        return name_of(sessions.current)


def served() -> Flask:
    """For a server, which gives it the ledger in a variable."""
    return make(lambda _: SessionStore.open(os.environ["LEDGER"]))
