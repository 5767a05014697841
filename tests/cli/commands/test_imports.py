"""Sessions that Django, Flask-Session, starsessions and Litestar stored, taken over as they are."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_session as flask_session_of_others
import pytest
import redis

from sessionledger import NEVER, SessionStore
from tests import postgres_server, redis_server
from tests.cli.running import Line
from tests.integrations import old_sites
from tests.integrations.apps import old_django_app

ROOT = Path(__file__).parents[3]
KEYS = f"{old_django_app.SECRET_KEY}\n{old_django_app.OLDER_KEY}\n"
TOPIC = ("--topic", old_django_app.TOPIC)


@pytest.fixture
def in_redis() -> Iterator[str]:
    with redis_server.database() as url:
        yield url


def told(line: Line, *arguments: str, code: int = 0, **variables: Any) -> dict[str, int]:
    """The counts that an import answers."""
    line("init")
    run = line.process if "TZ" in variables else line  # a process reads its time zone once
    answer = run("import", *arguments, "--json", **variables)
    assert answer.code == code, answer.err
    counts: dict[str, int] = answer.record
    return counts


def counted(imported: int = 0, already_here: int = 0, lapsed: int = 0, refused: int = 0) -> Any:
    return {
        "imported": imported,
        "already_here": already_here,
        "lapsed": lapsed,
        "refused": refused,
    }


def reasons_in(said: str) -> list[str]:
    return sorted(re.findall(r"(?m)^record \d: (.+); its user logs in again$", said))


def store_of(line: Line, topic: str = "orchestrator.sessions") -> SessionStore:
    return SessionStore.open(f"sqlite:///{line.folder / 'sessions.db'}", topic=topic)


def django(line: Line, *arguments: str, **variables: str) -> Any:
    """What a project of Django answers, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integrations.apps.old_django_app", *arguments],
        cwd=line.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(params=["zoned.sqlite3", "local.sqlite3", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param != "postgresql":
        yield request.param
        return
    yield postgres_server.server()
    postgres_server.execute("DROP SCHEMA public CASCADE")
    postgres_server.execute("CREATE SCHEMA public")


@pytest.mark.middle
def test_users_of_django_stay_logged_in(line: Line, database: str) -> None:
    (line.folder / "key").write_text(KEYS)
    import_ = ["django", database, "--secret-key-file", "key", *TOPIC]
    # As Django does by TIME_ZONE, where a module has its settings.
    variables: Any = {"TZ": "Asia/Tokyo"} if database == "local.sqlite3" else {}
    cookies = django(line, "fill", database, **variables)
    if variables:
        import_.append("--local-times")
    dry = told(line, *import_, "--dry-run", code=1, **variables)
    with store_of(line, old_django_app.TOPIC) as store:
        assert store.count() == 0
    assert dry == told(line, *import_, code=1, **variables)
    assert dry == counted(imported=3, lapsed=1, refused=2)
    again = line.process("import", *import_, **variables)
    assert again.row == ["0", "3", "1", "2"]
    assert told(line, *import_, "--dry-run", code=1, **variables) == counted(0, 3, 1, 2)
    reasons = reasons_in(again.err)
    assert reasons == [
        "signature is of another SECRET_KEY",
        "token must be at least 32 characters long",
    ]
    with store_of(line, old_django_app.TOPIC) as store:
        session = store.get(cookies["user"])
        assert session is not None
        assert abs(session.expires_at.timestamp() - float(cookies["ends"])) < 1e-3
    ledger = f"sqlite:///{line.folder / 'sessions.db'}"
    browsers = cookies["user"], cookies["visitor"]
    seen = django(line, "visit", database, ledger, *browsers, **variables)
    assert seen == [
        {"user": "mover", "session": {"basket": "tea", "note": "é"}},
        {"user": "", "session": {"lang": "fr"}},
    ]


def flask_session(url: str, data: dict[str, Any]) -> tuple[str, str]:
    return "flask-session", old_sites.in_flask_session(url, {"_user_id": "bob", **data})


def flask_session_json(url: str, data: dict[str, Any]) -> tuple[str, str]:
    cookie = old_sites.in_flask_session(
        url, {"_user_id": "bob", **data}, SESSION_SERIALIZATION_FORMAT="json"
    )
    return "flask-session", cookie


def flask_session_signed(url: str, data: dict[str, Any]) -> tuple[str, str]:
    cookie = old_sites.in_flask_session(url, {"_user_id": "bob", **data}, SESSION_USE_SIGNER=True)
    return "flask-session-signed", cookie


def starsessions(url: str, data: dict[str, Any]) -> tuple[str, str]:
    return "starsessions", old_sites.in_starsessions(url, {"user_id": "bob", **data})


def litestar(url: str, data: dict[str, Any]) -> tuple[str, str]:
    return "litestar", old_sites.in_litestar(url, {"user_id": "bob", **data})


STORED = [flask_session, flask_session_json, flask_session_signed, starsessions, litestar]


@pytest.mark.parametrize("stored", STORED)
def test_a_cookie_goes_on_as_a_token(line: Line, in_redis: str, stored: Any) -> None:
    kind, cookie = stored(in_redis, {"cart": {"tea": 1}})
    with redis.Redis.from_url(in_redis) as client:
        (key,) = client.keys()
        ends = client.pexpiretime(key) / 1000
    variables: Any = {"SECRET_KEY": old_sites.SECRET_KEY}
    counts = told(line, kind, in_redis, **variables)
    assert counts == counted(imported=1)
    assert told(line, kind, in_redis, **variables) == counted(already_here=1)
    with store_of(line) as store:
        session = store.get(cookie)
        assert session is not None
        assert session.principal == "bob"
        assert session.attributes["cart"][1] == {"tea": 1}
        assert abs(session.expires_at.timestamp() - ends) < 1
        assert store.expire(cookie) is not None
    assert told(line, kind, in_redis, **variables) == counted(already_here=1)
    assert told(line, kind, in_redis, "--dry-run", **variables) == counted(already_here=1)
    with store_of(line) as store:
        assert store.get(cookie) is None


def test_what_can_not_be_read_is_named_and_stops_nothing(line: Line, in_redis: str) -> None:
    good = old_sites.in_flask_session(in_redis, {"_user_id": 7})
    visitor = old_sites.in_flask_session(in_redis, {"lang": "fr"}, SESSION_ID_LENGTH=40)
    old_sites.in_flask_session(in_redis, {"_user_id": "eve"}, SESSION_ID_LENGTH=16)
    old_sites.in_flask_session(in_redis, {"_user_id": ["eve"]})
    with redis.Redis.from_url(in_redis) as client:
        client.set("session:" + "p" * 43, b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.")
        client.set("session:" + "n" * 43, b"7")
        client.lpush("session:" + "l" * 43, "not a string")
        client.set(b"session:\xff" + b"u" * 43, b"{}")
        client.set("session:" + "f" * 43, b'{"_user_id": "forever"}')
        client.set("other:" + "o" * 43, b'{"_user_id": "other"}')
    counts = told(line, "flask-session", in_redis, code=1)
    assert counts == counted(imported=3, refused=6)
    again = line("import", "flask-session", in_redis)
    reasons = reasons_in(again.err)
    assert reasons == [
        "UnicodeDecodeError",
        "_user_id is neither text nor a number",
        "data is neither MessagePack nor JSON",
        "data is neither MessagePack nor JSON",
        "data is no object",
        "token must be at least 32 characters long",
    ]
    with store_of(line) as store:
        seven, anonymous, forever = map(store.get, (good, visitor, "f" * 43))
    assert seven is not None
    assert seven.principal == "7"
    assert anonymous is not None
    assert anonymous.is_anonymous
    assert forever is not None
    assert forever.expires_at == NEVER


def test_a_pickle_is_imported_once_its_library_has_stored_it_again(
    line: Line, in_redis: str
) -> None:
    cookie, key = "p" * 43, "session:" + "p" * 43
    with redis.Redis.from_url(in_redis) as client:
        client.set(key, pickle.dumps({"_user_id": "bob"}), ex=60)
        assert told(line, "flask-session", in_redis, code=1) == counted(refused=1)
        app = old_sites.flask_app(SESSION_TYPE="redis", SESSION_REDIS=client)
        flask_session_of_others.Session(app)
        browser = app.test_client()
        browser.set_cookie("session", cookie)
        assert browser.get("/put?lang=fr").json == {"_user_id": "bob", "lang": "fr"}
    assert told(line, "flask-session", in_redis) == counted(imported=1)
    with store_of(line) as store:
        session = store.get(cookie)
        assert session is not None
        assert session.principal == "bob"


def test_the_prefix_and_the_user_are_the_application_s(line: Line, in_redis: str) -> None:
    data = {"who": "eve", "user_id": "bob"}
    cookie = old_sites.in_starsessions(in_redis, data, prefix="[my]*")
    old_sites.in_starsessions(in_redis, data, prefix="my")
    counts = told(line, "starsessions", in_redis, "--prefix", "[my]*", "--principal", "who")
    assert counts == counted(imported=1)
    with store_of(line) as store:
        session = store.get(cookie)
        assert session is not None
        assert session.principal == "eve"
        assert "__metadata__" not in session.attributes


def test_keys_that_were_hashed_are_no_tokens(line: Line, in_redis: str) -> None:
    from hashlib import sha256

    cookie = old_sites.in_starsessions(
        in_redis, {"user_id": "bob"}, prefix=lambda key: sha256(key.encode()).hexdigest()
    )
    assert told(line, "starsessions", in_redis) == counted()
    with store_of(line) as store:
        assert store.get(cookie) is None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["mysql", "x"], 2, "KIND is one of django,"),
        (["django"], 2, "SESSIONLEDGER_SOURCE"),
        (["django", "old.db"], 2, "SECRET_KEY is missing"),
        (["django", "old.db", "--secret-key-file", "no"], 2, "can't be read"),
        (["django", "old.db", "--principal", "user_id"], 2, "neither --prefix nor --principal"),
        (["flask-session-signed", "redis://localhost"], 2, "SECRET_KEY is missing"),
        (["litestar", "redis://:secret@127.0.0.1:1/0"], 2, "SOURCE has a password"),
        (["django", "postgresql://me:secret@127.0.0.1/x"], 2, "can see a password"),
        (["litestar", "redis://127.0.0.1:1/0"], 4, "SOURCE can't be read"),
        (["litestar", "sessions.db"], 4, "SOURCE can't be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_missing_is_said(
    line: Line, arguments: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line("init")
    monkeypatch.setattr(sys, "argv", ["sessionledger", *arguments])
    variables = {"SECRET_KEY": "key"} if "password" in said else {}
    answer = line("import", *arguments, **variables)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert "secret@" not in answer.err


def test_a_database_without_the_table_is_no_source(line: Line) -> None:
    line("init")
    (line.folder / "other.db").touch()
    for source in "other.db", "missing.db":
        answer = line("import", "django", source, SECRET_KEY="key")
        assert (answer.code, answer.out) == (4, "")
        assert "SOURCE can't be read" in answer.err
    assert not (line.folder / "missing.db").exists()
