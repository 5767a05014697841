"""Where other programs keep their sessions: the table `django_session`, and keys in Redis.

Nothing is written there. A record is a function, which raises what is wrong with it. No error shows
the key of a record: a browser sends it, so it is the token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import apsw
import msgspec

from sessionledger import NEVER, parse_url
from sessionledger.cli.exit_codes import UNAVAILABLE, Failure
from sessionledger.cli.input.ledger import refuse_shown_password, url_of

VARIABLE = "SESSIONLEDGER_SOURCE"
_ROWS = "SELECT session_key, session_data, expire_date FROM django_session ORDER BY session_key"
_SALT = "django.contrib.sessions.SessionStore"
_PAGE = 1000


class OldSession(NamedTuple):
    """A session of another program, by what its browser sends."""

    token: str
    data: dict[str, Any]
    expires_at: datetime


class Unusable(Exception):
    """Why a record can't become a session here."""


Record: TypeAlias = Callable[[], OldSession]


def django_sessions(source: str, keys: Sequence[str], in_utc: bool) -> Iterator[Record]:
    """What the engines `db` and `cached_db` keep. keys: SECRET_KEY, and those before it.

    in_utc: times without a zone are of UTC, not of this machine.
    """
    from django.core import signing

    key, *fallbacks = keys

    def read(token: str, signed: str, ends: object) -> OldSession:
        try:
            data = signing.loads(signed, key=key, salt=_SALT, fallback_keys=fallbacks)
        except signing.BadSignature:
            raise Unusable("another SECRET_KEY signed it") from None
        end = datetime.fromisoformat(str(ends))
        is_whole = end.tzinfo is not None or not in_utc
        return OldSession(token, data, end.astimezone() if is_whole else end.replace(tzinfo=UTC))

    return (partial(read, *row) for row in _rows(source))


def redis_sessions(
    source: str, prefix: str, token_of: Callable[[str], str] = str
) -> Iterator[Record]:
    """What Redis has under keys with a prefix. token_of: what browsers send for the rest of one."""
    import redis

    def read(key: bytes, value: object, end: datetime) -> OldSession:
        if not isinstance(value, bytes):
            raise Unusable("its key holds no text")
        return OldSession(token_of(key.decode().removeprefix(prefix)), _decoded(value), end)

    holds_password = urlsplit(source).password is not None or "password=" in source
    refuse_shown_password(source, lambda: holds_password, VARIABLE)
    literal = "".join(f"\\{c}" if c in "*?[]^\\" else c for c in prefix)
    with _reading(redis.RedisError, ValueError), redis.Redis.from_url(source) as client:
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


def signed_by_flask_session(key: str, session_id: str) -> str:
    """The cookie of a session id under SESSION_USE_SIGNER."""
    from itsdangerous import Signer

    return Signer(key, salt="flask-session", key_derivation="hmac").sign(session_id).decode()


def _decoded(value: bytes) -> Any:
    """A pickle would run code, so it stays closed."""
    with suppress(msgspec.DecodeError):
        return msgspec.msgpack.decode(value)
    with suppress(ValueError):
        return json.loads(value)
    raise Unusable("it is neither MessagePack nor JSON")


def _rows(source: str) -> Iterator[tuple[Any, ...]]:
    url = url_of(source, VARIABLE)
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
