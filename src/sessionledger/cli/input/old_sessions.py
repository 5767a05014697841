"""Where other programs keep their sessions: the table `django_session`, and keys in Redis.

Nothing is written there. A record is a function that answers token, data and end, or raises what is
wrong. No error shows the key of a record: a browser sends it, so it is the token.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import apsw
import msgspec

from sessionledger import NEVER, InvalidSession, parse_url
from sessionledger.cli.exit_codes import UNAVAILABLE, Failure, bad_usage
from sessionledger.cli.input.ledger import url_of

VARIABLE = "SESSIONLEDGER_SOURCE"
_ROWS = "SELECT session_key, session_data, expire_date FROM django_session ORDER BY session_key"
_SALT = "django.contrib.sessions.SessionStore"
_PAGE = 1000

Record: TypeAlias = Callable[[], tuple[str, Any, datetime]]


def django_sessions(source: str, keys: Sequence[str], local_times: bool) -> Iterator[Record]:
    """What the engines `db` and `cached_db` keep. keys: SECRET_KEY, and those before it.

    local_times: a time without a zone is one of this machine, not of UTC.
    """
    from django.core import signing

    def read(token: str, signed: str, ends: object) -> tuple[str, Any, datetime]:
        try:
            data = signing.loads(signed, key=keys[0], salt=_SALT, fallback_keys=keys[1:])
        except signing.BadSignature:
            raise InvalidSession("signature", "is of another SECRET_KEY") from None
        end = datetime.fromisoformat(str(ends))
        known = end if end.tzinfo or local_times else end.replace(tzinfo=UTC)
        return token, data, known.astimezone()

    return (partial(read, *row) for row in _rows(source))


def redis_sessions(
    source: str, prefix: str, cookie_of: Callable[[str], str] = str
) -> Iterator[Record]:
    """What Redis has under keys with a prefix. cookie_of: what browsers send for the rest."""
    import redis

    def read(key: bytes, value: object, end: datetime) -> tuple[str, Any, datetime]:
        return cookie_of(key.decode().removeprefix(prefix)), _decoded(value), end

    with _reading(redis.RedisError, ValueError), redis.Redis.from_url(_unseen(source)) as client:
        literal = "".join(f"\\{c}" if c in "*?[]^\\" else c for c in prefix)
        keys = client.scan_iter(match=f"{literal}*", count=_PAGE)
        while page := list(islice(keys, _PAGE)):
            now, pipeline = datetime.now(UTC), client.pipeline(transaction=False)
            for key in page:
                pipeline.get(key).pttl(key)
            told = pipeline.execute(raise_on_error=False)
            for key, value, left in zip(page, told[::2], told[1::2], strict=True):
                if value is not None:  # it has not ended meanwhile
                    end = NEVER if left < 0 else now + timedelta(milliseconds=left)
                    yield partial(read, key, value, end)


def _unseen(source: str) -> str:
    """The address, if nobody can see a password in it. Raises `Failure`."""
    holds_password = urlsplit(source).password is not None or "password=" in source
    if holds_password and source != os.environ.get(VARIABLE):
        raise bad_usage(f"SOURCE has a password, which an argument shows: set {VARIABLE}")
    return source


def _decoded(value: object) -> Any:
    """A pickle would run code, so it stays closed."""
    if isinstance(value, bytes):
        with suppress(msgspec.DecodeError):
            return msgspec.msgpack.decode(value)
        with suppress(ValueError):
            return json.loads(value)
    raise InvalidSession("data", "is neither MessagePack nor JSON")


def _rows(source: str) -> Iterator[tuple[Any, ...]]:
    url = url_of(source)
    scheme, path, *_ = parse_url(url)
    if scheme == "postgresql":
        import psycopg

        with _reading(psycopg.Error), psycopg.connect(url) as server:
            server.read_only = True
            with server.cursor("django_session") as cursor:
                yield from cursor.execute(_ROWS)
    else:
        with _reading(apsw.Error):
            yield from apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY).execute(_ROWS)


@contextmanager
def _reading(*errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except errors as error:
        raise Failure(UNAVAILABLE, "source", f"SOURCE can't be read: {error}") from None
