"""A shop on Flask-Session, moved."""

import os

from flask import Flask, flash, get_flashed_messages, request, session

from sessionledger import SessionStore
from sessionledger.integrations.flask import LedgerSessionInterface, Sessions

app = Flask(__name__)
sessions = Sessions(lambda _: SessionStore.open(os.environ["LEDGER"]))
sessions.init_app(app)
app.session_interface = LedgerSessionInterface(sessions, principal=lambda s: s.get("user_id"))


@app.post("/login")
def log_in() -> str:
    session["user_id"] = request.args["name"]
    flash("welcome")
    return "logged in"


@app.post("/basket")
def put() -> str:
    session.setdefault("basket", []).append(request.args["put"])
    session.modified = True
    return "put"


@app.get("/")
def home() -> str:
    name, told = session.get("user_id", "visitor"), get_flashed_messages()
    return f"{name} has {session.get('basket')} {told}"


@app.post("/logout")
def log_out() -> str:
    session.clear()
    return "logged out"
