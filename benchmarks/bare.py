"""The bare operations: what any store on this file system and this SQLite has to do."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

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
    """One table, the token's hash as its key and the session as JSON: no events, no index."""

    def __init__(self, path: Path, *, text_keys: bool) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOMUTEX
        self.connection = apsw.Connection(str(path), flags=flags)
        for pragma in PRAGMAS:
            self.connection.execute(pragma).fetchall()
        kind = "TEXT" if text_keys else "BLOB"
        tail = "" if text_keys else " WITHOUT ROWID"
        self.connection.execute(
            f"CREATE TABLE sessions (key {kind} PRIMARY KEY, record BLOB){tail}"
        )
        self._text_keys = text_keys
        self._cursor = self.connection.cursor()

    def key(self, token: str) -> str | bytes:
        hashed = sha256(DOMAIN + token.encode())
        return "sha256:v1:" + hashed.hexdigest() if self._text_keys else hashed.digest()

    def get(self, token: str) -> Session:
        key = self.key(token)
        found = self._cursor.execute("SELECT record FROM sessions WHERE key = ?", (key,))
        return _decode(found.fetchall()[0][0])

    def fill(self, sessions: Sequence[tuple[str, Session]]) -> None:
        with self.connection:
            self.connection.executemany(
                "INSERT INTO sessions VALUES (?, ?)",
                [(self.key(token), _encode(session)) for token, session in sessions],
            )

    def insert(self, rows: Sequence[tuple[str, bytes]]) -> None:
        """One durable transaction: each token and each payload is hashed, each row inserted."""
        cursor = self._cursor
        cursor.execute("BEGIN IMMEDIATE")
        for token, payload in rows:
            sha256(payload).hexdigest()
            cursor.execute("INSERT INTO sessions VALUES (?, ?)", (self.key(token), payload))
        cursor.execute("COMMIT")
