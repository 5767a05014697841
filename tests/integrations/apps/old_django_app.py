"""A project of Django before and after it moves, each in a process of its own.

`python -m … fill DATABASE` prints cookies, by what their sessions are. `… visit DATABASE LEDGER
COOKIE…` prints what the project knows of each, with sessions in the ledger.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from sessionledger import SessionStore
from tests.integrations.apps import django_sessions_app

SECRET_KEY, OLDER_KEY = "of the project", "of the project, before"
TOPIC = "django.sessions"


def configure(database: str, **sessions: Any) -> None:
    settings.configure(
        SECRET_KEY=SECRET_KEY,
        USE_TZ="zoned" in database or database.startswith("postgresql:"),
        TIME_ZONE="Asia/Tokyo",
        ALLOWED_HOSTS=["testserver"],
        ROOT_URLCONF="tests.integrations.apps.django_sessions_app",
        MIDDLEWARE=django_sessions_app.MIDDLEWARE,
        INSTALLED_APPS=[
            *("django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions")
        ],
        DATABASES={"default": _database(database)},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LOGGING_CONFIG=None,
        **sessions,
    )
    django.setup()


def _database(address: str) -> dict[str, Any]:
    if not address.startswith("postgresql:"):
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": address}
    url = urlsplit(address)
    (host,) = parse_qs(url.query)["host"]
    told = {"NAME": url.path.lstrip("/"), "USER": url.username, "HOST": host}
    return {"ENGINE": "django.db.backends.postgresql", **told}


def fill() -> dict[str, str]:
    from django.contrib.auth import get_user_model
    from django.contrib.sessions.backends.db import SessionStore as OldStore
    from django.contrib.sessions.models import Session as Row

    call_command("migrate", verbosity=0)
    get_user_model().objects.create_user("mover", password="secret")
    user, visitor = Client(), Client()
    user.get("/put?basket=tea&note=%C3%A9")
    assert user.get("/login?name=mover").json()["user"] == "mover"
    visitor.get("/put?lang=fr")
    cookies = {
        "user": user.cookies["sessionid"].value,
        "visitor": visitor.cookies["sessionid"].value,
    }
    settings.SECRET_KEY = OLDER_KEY
    older = OldStore()
    older["signed"] = "before"
    older.save()
    settings.SECRET_KEY = SECRET_KEY
    cookies["older"] = older.session_key
    good = Row.objects.get(session_key=cookies["visitor"])
    Row("x" * 40, good.session_data[:-1] + "!", good.expire_date).save()
    Row("short", good.session_data, good.expire_date).save()
    Row("l" * 32, good.session_data, good.expire_date - timedelta(days=365)).save()
    cookies["ends"] = str(Row.objects.get(session_key=cookies["user"]).expire_date.timestamp())
    return cookies


def visit(cookies: list[str]) -> list[Any]:
    told = []
    for cookie in cookies:
        browser = Client()
        browser.cookies["sessionid"] = cookie
        told.append(browser.get("/").json())
        browser.get("/put?later=1")
        assert browser.cookies["sessionid"].value == cookie
    return told


if __name__ == "__main__":
    what, database, *rest = sys.argv[1:]
    if what == "fill":
        configure(database)
        print(json.dumps(fill()))
    else:
        ledger, *cookies = rest
        configure(
            database,
            SESSION_ENGINE=django_sessions_app.ENGINE,
            SESSIONLEDGER={"SESSIONS": lambda: SessionStore.open(ledger, topic=TOPIC)},
        )
        print(json.dumps(visit(cookies)))
