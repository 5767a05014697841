"""What is wrong with a topic, in one snapshot of the database."""

from __future__ import annotations

from typing import Any

from sessionledger.findings import Finding
from sessionledger.logs.base import Check, Row, StoredEvent
from sessionledger.logs.chain import Head
from sessionledger.logs.compaction.contract import Cut
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.connection import Connection, Lines, Statement
from sessionledger.logs.sql import statements
from sessionledger.logs.sql.writer import base_page


class _View:
    """A topic in the snapshot of a connection."""

    chained = True

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        (found,) = self._ask((queries.TOPIC, (topic,)))
        _, self.folded, self.head, _ = found[0] if found else (0, 0, 0, 0)
        (found,) = self._ask((queries.CUT, (topic,)))
        self._number, cut, hash, seal = found[0] if found else (0, 0, None, 0)
        self.cut = Cut(Head(cut, hash), seal)

    def _ask(self, *statements: Statement) -> list[Lines]:
        # What checks them takes as long as it takes.
        self._connection.renew()
        return self._connection.ask(*statements)

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        (found,) = self._ask((queries.EVENTS_AFTER, (self._topic, after, limit)))
        return queries.stored_events(found)

    def rows(self, after: bytes, limit: int) -> list[Row]:
        (found,) = self._ask((queries.ROWS_AFTER, (self._topic, after, limit)))
        return queries.stored_rows(found)

    def cursors(self, topic: str) -> dict[str, int]:
        return dict(self._ask((statements.CURSORS, (topic,)))[0])

    def base(self, after: bytes, limit: int) -> list[Row]:
        def select(sql: str, *values: Any) -> list[Any]:
            return self._ask((sql, values))[0]

        return base_page(select, self._number, self.cut.id, after, limit)


def examine(connection: Connection, topic: str, check: Check) -> list[Finding]:
    """What the check finds. It holds no lock that a writer would wait for."""
    connection.ask((queries.BEGIN_READING, ()))
    findings = list(check(_View(connection, topic)))
    connection.ask(("COMMIT", ()))  # so that it is kept: a server ends another a moment later
    return findings
