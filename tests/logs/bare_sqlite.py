"""Appending to a SQLite ledger as the reference does: no rows of ours, no chain.

In another process, because two SQLite libraries in one drop each other's locks, and because a
stranger has none of our caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from sessionledger import LogEvent
from sessionledger.testing.other_process import elsewhere


def append(path: Path, topic: str, events: Sequence[LogEvent]) -> None:
    """Append the events, in one transaction, in another process."""
    elsewhere(_append_here, str(path), topic, list(events))


def empty(path: Path, topic: str) -> None:
    """Remove every event of a topic, as the reference's compaction does; its head stays."""
    execute(path, "DELETE FROM events WHERE topic = ?", topic)


def execute(path: Path, sql: str, *values: object) -> None:
    """Run one statement as a stranger: whatever somebody might do to the file."""
    elsewhere(_execute_here, str(path), sql, values)


def _execute_here(path: str, sql: str, values: tuple[object, ...]) -> None:
    apsw.Connection(path).execute(sql, values).fetchall()


def _append_here(path: str, topic: str, events: Sequence[LogEvent]) -> None:
    connection = apsw.Connection(path)
    connection.set_busy_timeout(30_000)
    with connection:
        heads = connection.execute("SELECT last_id FROM topic_heads WHERE topic = ?", (topic,))
        last = int(str((heads.fetchall() or [(0,)])[0][0]))
        for id, event in enumerate(events, last + 1):
            connection.execute(
                "INSERT INTO events (topic, event_id, kind, payload, headers, occurred_at_ms)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    topic,
                    id,
                    event.kind,
                    event.payload,
                    msgspec.json.encode(event.headers).decode(),
                    event.occurred_at_ms,
                ),
            )
        connection.execute(
            "INSERT INTO topic_heads (topic, last_id) VALUES (?, ?)"
            " ON CONFLICT (topic) DO UPDATE SET last_id = excluded.last_id",
            (topic, last + len(events)),
        )
