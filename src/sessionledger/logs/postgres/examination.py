"""What is wrong with a topic, in one snapshot of the database."""

from __future__ import annotations

from sessionledger.findings import Finding
from sessionledger.logs.base import Check, Row, StoredEvent
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.connection import Connection


class _View:
    """A topic in the snapshot of a connection."""

    chained = True

    def __init__(self, connection: Connection, topic: str) -> None:
        self._ask = connection.ask
        self._topic = topic
        (found,) = self._ask((queries.TOPIC, (topic,)))
        _, self.folded, self.head, _ = found[0] if found else (0, 0, 0, 0)

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        (found,) = self._ask((queries.EVENTS_AFTER, (self._topic, after, limit)))
        return queries.stored_events(found)

    def rows(self, after: bytes, limit: int) -> list[Row]:
        (found,) = self._ask((queries.ROWS_AFTER, (self._topic, after, limit)))
        return queries.stored_rows(found)


def examine(connection: Connection, topic: str, check: Check) -> list[Finding]:
    """What the check finds. It holds no lock that a writer would wait for."""
    connection.ask((queries.BEGIN_READING, ()))
    return list(check(_View(connection, topic)))
