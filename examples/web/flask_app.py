"""A Flask application with sessions of its own: no other process to run.

    LEDGER=sqlite:///sessions.db gunicorn --chdir examples/web --workers 2 'flask_app:create_app()'

Log in begins a session and ends whatever session the browser came with. What matters asks for a
recent proof; a new password gives a new token and ends all other sessions, whoever holds them.
"""

from __future__ import annotations

import os
from datetime import timedelta

from flask import Blueprint, Flask, abort, request

from sessionledger import Policy, SessionStore
from sessionledger.integrations import Requirements, Settings, user_agent_and_address
from sessionledger.integrations.flask import Sessions
from sessionledger.integrations.flask.devices import blueprint

sessions = Sessions(
    lambda app: SessionStore.open(app.config["LEDGER"], policy=Policy.aal2()),
    settings=Settings(realm="example", context=user_agent_and_address),
)
pages = Blueprint("pages", __name__)
RECENT = Requirements(max_auth_age=timedelta(minutes=10))


@pages.post("/login")
def log_in() -> str:
    """Check the password as your application does."""
    told = request.get_json()
    if told["password"] != "correct horse":
        abort(401, "name or password are wrong")
    sessions.request_session.log_in(told["name"])
    return f"welcome, {told['name']}"


@pages.get("/")
@sessions.required
def home() -> str:
    return f"hello, {sessions.request_session.required().principal}"


@pages.post("/password")
@sessions.requiring(RECENT)
def change_password() -> str:
    """A new token here, and the end of all other sessions."""
    sessions.request_session.change_credentials(reason="password changed")
    return "changed"


@pages.post("/logout-everywhere")
def log_out_everywhere() -> str:
    return f"{sessions.request_session.log_out_everywhere()} logged out"


@pages.post("/logout")
def log_out() -> str:
    sessions.request_session.log_out()
    return "goodbye"


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["LEDGER"] = os.environ["LEDGER"]
    sessions.init_app(app)
    app.register_blueprint(pages)
    app.register_blueprint(blueprint(sessions), url_prefix="/account")  # where one is logged in
    return app
