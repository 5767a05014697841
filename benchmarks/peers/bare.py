"""The floor: a dictionary, a table in SQLite, a flushed file. Nobody's product."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import msgspec

from benchmarks.administering import OwnedTable
from benchmarks.bare import DOMAIN
from benchmarks.peers.contender import (
    CREATE,
    CREATE_BATCH,
    LIST,
    REVOKE,
    TTL,
    VALIDATE,
    Peer,
    Place,
    Promises,
    new_token,
    principal,
)
from sessionledger import Handle, Session

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode


@contextmanager
def peer(place: Place, variant: str) -> Iterator[Peer]:
    yield VARIANTS[variant](place)


def session(token: str, owner: str, number: int = 0) -> Session:
    now = datetime.now(UTC)
    handle = Handle("sha256:v1:" + sha256(DOMAIN + token.encode()).hexdigest())
    attributes = {"role": "operator", "number": number}
    return Session(handle, owner, now, now, now + timedelta(seconds=TTL), attributes)


def issued(place: Place) -> list[tuple[str, Session]]:
    """All sessions that a place starts with, and their tokens."""
    tokens = [new_token() for _ in range(place.sessions)]
    return [
        (token, session(token, principal(number), number)) for number, token in enumerate(tokens)
    ]


def _whose(found: Any) -> str:
    assert isinstance(found, Session)
    return found.principal


def _dictionary(place: Place) -> Peer:
    filled = issued(place)
    sessions = {sha256(DOMAIN + token.encode()).digest(): _encode(one) for token, one in filled}

    def validate(token: str) -> Session:
        return _decode(sessions[sha256(DOMAIN + token.encode()).digest()])

    return Peer(
        name="a dictionary",
        version="Python's, msgspec",
        promises=Promises("no", "yes, in one process", "no", "yes, in one process"),
        measured={VALIDATE: "`decode(sessions[sha256(token)])` into the same struct; no expiry"},
        tokens=[token for token, _ in filled],
        validate=validate,
        whose=_whose,
        refusals=(KeyError,),
    )


def _sqlite(place: Place) -> Peer:
    table = OwnedTable(Path(place.folder) / "bare.db")
    filled = issued(place)
    table.fill(filled)
    return Peer(
        name="bare SQLite",
        version=f"SQLite {apsw.sqlite_lib_version()}, apsw",
        promises=Promises("yes", "yes, in every process", "yes", "yes"),
        measured={
            VALIDATE: "one `SELECT` by primary key, decoded; no expiry",
            CREATE: "one `INSERT` and `COMMIT`, `synchronous = full`; no history",
            CREATE_BATCH: "one transaction of 128 `INSERT`s",
            LIST: "one `SELECT` by an index, decoded",
            REVOKE: "one `DELETE` by that index and `COMMIT`",
        },
        tokens=[token for token, _ in filled],
        validate=table.get,
        whose=_whose,
        create=partial(_insert_one, table),
        create_batch=partial(_insert, table),
        listing=table.list,
        revoke=partial(_delete, table),
        refusals=(TypeError,),
    )


def _insert_one(table: OwnedTable, owner: str) -> str:
    return _insert(table, [owner])[0]


def _insert(table: OwnedTable, owners: Sequence[str]) -> list[str]:
    execute, tokens = table.connection.cursor().execute, []
    execute("BEGIN IMMEDIATE")
    for owner in owners:
        tokens.append(token := new_token())
        row = (table.key(token), _encode(session(token, owner)), owner)
        execute("INSERT INTO sessions VALUES (?, ?, ?)", row)
    execute("COMMIT")
    return tokens


def _delete(table: OwnedTable, owner: str) -> None:
    table.connection.execute("DELETE FROM sessions WHERE principal = ?", (owner,)).fetchall()


def _fdatasync(place: Place) -> Peer:
    file = os.open(Path(place.folder) / "flushed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def create(_owner: str) -> None:
        os.write(file, b"x" * 256)
        os.fdatasync(file)

    def create_batch(owners: Sequence[str]) -> None:
        for _ in owners:
            os.write(file, b"x" * 256)
        os.fdatasync(file)

    return Peer(
        name="bare fdatasync",
        version="the file system's",
        promises=Promises("yes", "nothing to revoke", "no", "nothing to read"),
        measured={
            CREATE: "256 bytes appended and flushed; no token, no session",
            CREATE_BATCH: "128 × 256 bytes appended, then one flush",
        },
        create=create,
        create_batch=create_batch,
    )


VARIANTS: dict[str, Callable[[Place], Peer]] = {
    "dictionary": _dictionary,
    "sqlite": _sqlite,
    "fdatasync": _fdatasync,
}
