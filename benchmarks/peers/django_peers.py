"""Django's sessions in three of its back ends, and django-rest-knox, on SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peers.contender import (
    CREATE,
    EACH,
    LIST,
    REVOKE,
    SIGNED,
    TTL,
    VALIDATE,
    Peer,
    Place,
    Promises,
    claims,
    fill,
)

STORED = Promises("yes", "yes, in every process", "no, only by decoding all", "yes")
CACHED = Promises(
    "yes", "in this process; elsewhere when its cache forgets", "no, only by decoding all", "no"
)


@contextmanager
def peer(place: Place, variant: str) -> Iterator[Peer]:
    _configure(Path(place.folder))
    yield VARIANTS[variant](place)


def _configure(folder: Path) -> None:
    """One SQLite file, as durable as ours and as quick as it gets: WAL, one connection kept."""
    import django
    from django.conf import settings

    pragmas = "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA mmap_size = 1073741824"
    settings.configure(
        SECRET_KEY="of no use outside of this process" * 2,
        USE_TZ=True,
        DEBUG=False,
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "rest_framework",
            "knox",
        ],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(folder / "django.db"),
                "OPTIONS": {"init_command": pragmas, "transaction_mode": "IMMEDIATE"},
            }
        },
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "OPTIONS": {"MAX_ENTRIES": 1_000_000},
            }
        },
        SESSION_COOKIE_AGE=TTL,
        REST_KNOX={"TOKEN_TTL": timedelta(seconds=TTL), "AUTO_REFRESH": False},
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def _sessions(place: Place, engine: str, promises: Promises) -> Peer:
    from django.db import transaction

    store = import_module(f"django.contrib.sessions.backends.{engine}").SessionStore

    def create(owner: str, number: int = 0) -> str:
        session = store()
        session.update(claims(owner, number))
        session.save()
        return str(session.session_key)

    with transaction.atomic():
        tokens = fill(place, create)
    stored = engine != "signed_cookies"
    return Peer(
        name=f"Django sessions, {engine}",
        version=f"Django {version('django')}",
        promises=promises,
        measured={
            VALIDATE: "`SessionStore(key).load()`; the user is not looked up",
            CREATE: "`SessionStore.save()` of a new one: a look for the key, an `INSERT`",
        },
        tokens=tokens,
        validate=lambda token: store(token).load(),
        whose=lambda session: str(session["sub"]),
        create=create if stored else None,
        end=(lambda token: store(token).delete()) if stored else None,
    )


def _db(place: Place) -> Peer:
    return _sessions(place, "db", STORED)


def _cached_db(place: Place) -> Peer:
    return _sessions(place, "cached_db", CACHED)


def _signed_cookies(place: Place) -> Peer:
    return _sessions(place, "signed_cookies", SIGNED)


def _knox(place: Place) -> Peer:
    from django.contrib.auth.models import User
    from django.db import transaction
    from knox.auth import TokenAuthentication
    from knox.models import AuthToken
    from rest_framework.exceptions import AuthenticationFailed

    names = place.principals + place.newcomers
    User.objects.bulk_create([User(username=name, password="!") for name in names])
    users: dict[str, Any] = {user.username: user for user in User.objects.all()}
    authenticate = TokenAuthentication().authenticate_credentials

    def create(owner: str, _number: int = 0) -> str:
        return str(AuthToken.objects.create(users[owner])[1])

    def revoke(owner: str) -> None:
        assert users[owner].auth_token_set.all().delete()[0] == EACH

    with transaction.atomic():
        tokens = fill(place, create)
    return Peer(
        name="django-rest-knox",
        version=f"knox {version('django-rest-knox')}, Django {version('django')}",
        promises=Promises("yes", "yes, in every process", "yes", "yes"),
        measured={
            VALIDATE: "`TokenAuthentication.authenticate_credentials(token)`, which gets the user",
            CREATE: "`AuthToken.objects.create(user)`; it carries no attributes",
            LIST: "`user.auth_token_set.all()`, all ten",
            REVOKE: "`user.auth_token_set.all().delete()`, ten tokens",
        },
        tokens=tokens,
        validate=lambda token: authenticate(token.encode()),
        whose=lambda found: str(found[0].username),
        create=create,
        listing=lambda owner: list(users[owner].auth_token_set.all()),
        revoke=revoke,
        end=lambda token: authenticate(token.encode())[1].delete(),
        refusals=(AuthenticationFailed,),
    )


VARIANTS: dict[str, Callable[[Place], Peer]] = {
    "db": _db,
    "cached_db": _cached_db,
    "signed_cookies": _signed_cookies,
    "knox": _knox,
}
