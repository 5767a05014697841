"""Appending to a SQLite ledger as the reference does: no rows of ours, no chain.

In another process, because two SQLite libraries in one drop each other's locks, and because a
stranger has none of our caches. Run as `python -m tests.logs.bare_sqlite PATH TOPIC`, with the
events on standard input.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from sessionledger import LogEvent

_events = msgspec.json.Decoder(list[LogEvent])


def append(path: Path, topic: str, events: Sequence[LogEvent]) -> None:
    """Append the events, in one transaction, in another process."""
    subprocess.run(
        [sys.executable, "-m", "tests.logs.bare_sqlite", str(path), topic],
        input=msgspec.json.encode(events),
        check=True,
        cwd=Path(__file__).parents[2],
    )


def empty(path: Path, topic: str) -> None:
    """Remove every event of a topic, as the reference's compaction does; its head stays."""
    execute(path, "DELETE FROM events WHERE topic = ?", topic)


def execute(path: Path, sql: str, *values: object) -> None:
    """Run one statement as a stranger: whatever somebody might do to the file."""
    script = "import apsw, sys, ast\n_, path, sql, values = sys.argv\n"
    script += "apsw.Connection(path).execute(sql, ast.literal_eval(values)).fetchall()"
    subprocess.run([sys.executable, "-c", script, str(path), sql, repr(values)], check=True)


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


if __name__ == "__main__":
    _append_here(sys.argv[1], sys.argv[2], _events.decode(sys.stdin.buffer.read()))
