"""The `eventsourcing` library on SQLite: a session as an aggregate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event

from benchmarks.peers.contender import (
    CREATE,
    VALIDATE,
    Peer,
    Place,
    Promises,
    claims,
    new_token,
    principal,
)


class Session(Aggregate):
    """Found by the hash of its token; ended once."""

    @event("Created")
    def __init__(self, digest: str, sub: str, role: str, number: int, exp: int) -> None:
        self.digest = digest
        self.sub = sub
        self.role = role
        self.number = number
        self.exp = exp
        self.ended = False

    @staticmethod
    def create_id(digest: str) -> UUID:
        return UUID(digest[:32])

    @event("Ended")
    def end(self) -> None:
        self.ended = True


class Sessions(Application[UUID]):
    """All sessions. A cache of aggregates, made current by a look for newer events at each get."""

    snapshotting_intervals = None


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()


@contextmanager
def peer(place: Place, _: str) -> Iterator[Peer]:
    app: Any = Sessions(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(Path(place.folder) / "events.db"),
            "AGGREGATE_CACHE_MAXSIZE": str(4 * place.sessions),
            "DEEPCOPY_FROM_AGGREGATE_CACHE": "n",
        }
    )

    def validate(token: str) -> Any:
        found = app.repository.get(Session.create_id(_digest(token)))
        return None if found.ended or found.exp <= time.time() else found

    def create(owner: str, number: int = 0) -> str:
        token = new_token()
        app.save(Session(_digest(token), **claims(owner, number)))
        return token

    def fill() -> list[str]:
        tokens = [new_token() for _ in range(place.sessions)]
        for start in range(0, place.sessions, 1000):
            some = range(start, min(start + 1000, place.sessions))
            app.save(*(Session(_digest(tokens[n]), **claims(principal(n), n)) for n in some))
        return tokens

    def end(token: str) -> None:
        session = app.repository.get(Session.create_id(_digest(token)))
        session.end()
        app.save(session)

    yield Peer(
        name="eventsourcing",
        version=f"eventsourcing {version('eventsourcing')}, SQLite",
        promises=Promises("yes", "yes, in every process", "by a projection of your own", "yes"),
        measured={
            VALIDATE: "`repository.get`, cached and fast-forwarded; expiry compared",
            CREATE: "`Application.save` of a new aggregate",
        },
        tokens=fill(),
        validate=validate,
        whose=lambda session: str(session.sub),
        create=create,
        end=end,
        refusals=(AggregateNotFoundError,),
    )
    app.close()
