"""The bare operations: what any store on this file system and this SQLite has to do."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw
import msgspec

from sessionledger import Session

DOMAIN = b"harn.orchestrator.session-token.v1\0"
PRAGMAS = (
    "PRAGMA journal_mode = wal",
    "PRAGMA synchronous = full",
    f"PRAGMA mmap_size = {1 << 30}",
    f"PRAGMA cache_size = {-8 * 1024}",
)

_decode = msgspec.json.Decoder(Session).decode
_encode = msgspec.json.Encoder().encode


class BareTable:
    """One table as one would write it: the handle as its key, the session as JSON.

    No events, no index, no expiry, no check of what other writers did.
    """

    schema = "CREATE TABLE IF NOT EXISTS sessions (key TEXT PRIMARY KEY, record BLOB)"
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE

    def __init__(self, path: Path) -> None:
        self.connection = apsw.Connection(str(path), flags=self.flags)
        for pragma in PRAGMAS:
            self.connection.execute(pragma).fetchall()
        self.connection.execute(self.schema)

    def key(self, token: str) -> str | bytes:
        return "sha256:v1:" + sha256(DOMAIN + token.encode()).hexdigest()

    def get(self, token: str) -> Session:
        key = self.key(token)
        found: Any = self.connection.execute("SELECT record FROM sessions WHERE key = ?", (key,))
        return _decode(found.fetchone()[0])

    def fill(self, sessions: Sequence[tuple[str, Session]]) -> None:
        with self.connection:
            self.connection.executemany(
                "INSERT INTO sessions VALUES (?, ?)",
                [(self.key(token), _encode(session)) for token, session in sessions],
            )

    def insert(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """One durable transaction: each token and each payload is hashed, each row inserted."""
        execute = self.connection.cursor().execute
        execute("BEGIN IMMEDIATE")
        for token, payload in rows:
            sha256(payload).hexdigest()
            execute("INSERT INTO sessions VALUES (?, ?)", (self.key(token), payload))
        execute("COMMIT")


class TunedTable(BareTable):
    """The same with all that makes a look-up faster: the digest as the key, no rowid, no mutex,
    one cursor kept."""

    schema = "CREATE TABLE IF NOT EXISTS sessions (key BLOB PRIMARY KEY, record BLOB) WITHOUT ROWID"
    flags = BareTable.flags | apsw.SQLITE_OPEN_NOMUTEX

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._execute = self.connection.cursor().execute

    def key(self, token: str) -> str | bytes:
        return sha256(DOMAIN + token.encode()).digest()

    def get(self, token: str) -> Session:
        key = self.key(token)
        found: Any = self._execute("SELECT record FROM sessions WHERE key = ?", (key,)).fetchall()
        return _decode(found[0][0])
