"""Appending to a PostgreSQL ledger as a foreign program does: no rows of ours, no chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import psycopg

from sessionledger import LogEvent
from tests import postgres_server


def append(place: Path, topic: str, events: Sequence[LogEvent]) -> None:
    """Append the events in one transaction, with the columns that the reference has."""
    with psycopg.connect(postgres_server.server()) as connection:
        connection.execute(f"SET search_path TO {postgres_server.schema(place)}")
        connection.execute(
            "INSERT INTO topic_heads (topic, last_id) VALUES (%s, 0) ON CONFLICT DO NOTHING",
            (topic,),
        )
        found = connection.execute(
            "SELECT last_id FROM topic_heads WHERE topic = %s FOR UPDATE", (topic,)
        ).fetchall()
        for id, event in enumerate(events, found[0][0] + 1):
            connection.execute(
                "INSERT INTO events (topic, event_id, kind, payload, headers, occurred_at_ms)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
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
            "UPDATE topic_heads SET last_id = %s WHERE topic = %s",
            (found[0][0] + len(events), topic),
        )


def empty(place: Path, topic: str) -> None:
    """Remove every event of a topic, as the reference's compaction does; its head stays."""
    execute(place, "DELETE FROM events WHERE topic = %s", topic)


def execute(place: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    """Run one statement as a stranger: whatever somebody might do to the tables."""
    with psycopg.connect(postgres_server.server()) as connection:
        connection.execute(f"SET search_path TO {postgres_server.schema(place)}")
        cursor = connection.execute(sql, values)
        return [] if cursor.description is None else cursor.fetchall()
