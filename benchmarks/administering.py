"""What is done by principal and for every request, beside bare statements on the same rows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bare import BareTable
from benchmarks.filling import EACH, fill, principal, token
from benchmarks.rounds import Goal, Timing, measure
from sessionledger import Policy, Session, SessionStore

SESSIONS = 100_000
READS = 1000
LISTINGS = 200
REVOCATIONS = 20

GOALS = (
    Goal("list a principal's 10", "bare SELECT of a principal's 10", 2.0),
    Goal("revoke_all of 10", "bare fsync'd insert", 2.0),
    Goal("authenticate, no touch due", "get", 1.2),
)

_decode = msgspec.json.Decoder(Session).decode
_encode = msgspec.json.Encoder().encode


class OwnedTable(BareTable):
    """A bare table with an index by principal: its listing selects the rows and decodes each."""

    schema = """CREATE TABLE IF NOT EXISTS sessions
            (key TEXT PRIMARY KEY, record BLOB, principal TEXT);
        CREATE INDEX IF NOT EXISTS sessions_by_principal ON sessions (principal)"""

    def fill(self, sessions: Sequence[tuple[str, Session]]) -> None:
        with self.connection:
            self.connection.executemany(
                "INSERT INTO sessions VALUES (?, ?, ?)",
                [(self.key(token), _encode(one), one.principal) for token, one in sessions],
            )

    def list(self, principal: str) -> list[Session]:
        found: Any = self.connection.execute(
            "SELECT record FROM sessions WHERE principal = ?", (principal,)
        )
        return [_decode(record) for (record,) in found.fetchall()]


def administering(folder: Path, rounds: int) -> dict[str, Timing]:
    """Microseconds per listing, revocation of all, and read, at so many live sessions."""
    url = f"sqlite:///{folder / 'administer.db'}"
    owned, bare = OwnedTable(folder / "owned.db"), BareTable(folder / "bare.db")
    asyncio.run(fill(url, SESSIONS, [owned.fill]))
    # Those to be revoked come from one half, those to be read and listed from the other.
    doomed = iter(range(0, SESSIONS // 2, EACH))
    others = range(SESSIONS // 2, SESSIONS)
    # Long enough that no touch falls due while this runs.
    policy = Policy(touch_interval=timedelta(days=1))
    with SessionStore.open(url, policy=policy) as store:
        contenders: dict[str, Callable[[], int]] = {
            "bare SELECT of a principal's 10": lambda: _list(owned.list, others),
            "list a principal's 10": lambda: _list(
                lambda name: list(store.sessions(principal=name)), others
            ),
            "bare fsync'd insert": lambda: insert(bare),
            "revoke_all of 10": lambda: _revoke(store, doomed),
            "get": lambda: read(store.get, others),
            "authenticate, no touch due": lambda: read(store.authenticate, others),
        }
        return measure(contenders, rounds)


def _list(listing: Callable[[str], list[Session]], numbers: range) -> int:
    for number in random.choices(numbers, k=LISTINGS):
        assert len(listing(principal(number))) == EACH
    return LISTINGS


def read(get: Callable[[str], Session | None], numbers: range) -> int:
    for number in random.choices(numbers, k=READS):
        assert get(token(number)) is not None
    return READS


def insert(bare: BareTable) -> int:
    record = b"x" * 350
    for _ in range(REVOCATIONS):
        bare.insert([(f"harn_sess_{random.getrandbits(128):043d}", record)])
    return REVOCATIONS


def _revoke(store: SessionStore, doomed: Iterator[int]) -> int:
    for _ in range(REVOCATIONS):
        assert store.revoke_all(principal(next(doomed))) == EACH
    return REVOCATIONS
