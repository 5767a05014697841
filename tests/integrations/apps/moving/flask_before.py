"""A shop on Flask-Session."""

import os

from flask import Flask, flash, get_flashed_messages, request, session
from flask_session import Session
from redis import Redis

app = Flask(__name__)
app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(os.environ["REDIS"]))
Session(app)


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
