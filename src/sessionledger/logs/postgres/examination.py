"""What is wrong with a topic, in one snapshot; and where the server may keep what was erased.

No query answers what was erased, but the server's files may have it. An erasure notes the files of
the tables, the time, and the end of the write-ahead log.

1. VACUUM FULL gives a table another file.
2. ANALYZE replaces the statistics of a table.
3. The write-ahead log is written over once the server has written as much as its folder holds, and
   each file there since. A page may be copied into it until its table has another file. So whoever
   takes the lease after that notes the end of the log again.
"""

from __future__ import annotations

from typing import Any

from sessionledger.findings import Finding, Findings
from sessionledger.logs.base import Check, Row, StoredEvent
from sessionledger.logs.chain import Head
from sessionledger.logs.compaction.contract import Cut
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.connection import Connection, Lines, Statement
from sessionledger.logs.sql import statements
from sessionledger.logs.sql.writer import base_page

PAGES = "pages of tables and indexes, until VACUUM FULL"
STATISTICS = "statistics, until ANALYZE"
LOG = "the write-ahead log, until the server has written over it"
ELSEWHERE = ("archives of the write-ahead log", "replicas that lag", "backups")
"""What nobody can look into from here."""

_TABLES = "('main.events'::regclass, 'main.ledger_rows'::regclass, 'main.ledger_base'::regclass)"
_FILES = f"ARRAY(SELECT pg_relation_filenode(oid) FROM pg_class WHERE oid IN {_TABLES})"
_END = "'since', clock_timestamp(), 'end', pg_current_wal_insert_lsn()"
_NOTED = "(CASE name WHEN 'erased' THEN value END)::jsonb"
_HAS_FILES = f"jsonb_exists({_NOTED}, 'files')"
_HAS_PAGES = f"""EXISTS (SELECT FROM jsonb_array_elements_text({_NOTED} -> 'files') AS file
    WHERE file::oid = ANY ({_FILES}))"""

NOTE = f"""INSERT INTO main.ledger_meta VALUES ('erased',
    jsonb_build_object('at', clock_timestamp(), {_END}, 'files', {_FILES})::text)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
NOTE_END = f"""UPDATE main.ledger_meta
    SET value = ({_NOTED} - 'files' || jsonb_build_object({_END}))::text
    WHERE name = 'erased' AND {_HAS_FILES} AND NOT {_HAS_PAGES}"""
_LEFT = f"""SELECT {_HAS_PAGES}, EXISTS (SELECT FROM pg_stats JOIN pg_stat_all_tables AS counted
        ON counted.schemaname = pg_stats.schemaname AND counted.relname = tablename
        WHERE relid IN {_TABLES}
        AND coalesce(greatest(last_analyze, last_autoanalyze), '-infinity')
            <= ({_NOTED} ->> 'at')::timestamptz),
    {_HAS_FILES} OR NOT has_function_privilege('pg_ls_waldir()', 'EXECUTE'),
    {_NOTED} ->> 'since', {_NOTED} ->> 'end'
    FROM main.ledger_meta WHERE name = 'erased'"""
_IN_LOG = """SELECT coalesce(bool_or(modification <= %s::timestamptz), true) OR sum(size) >=
    pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
        ELSE pg_current_wal_insert_lsn() END, %s::pg_lsn) FROM pg_ls_waldir()"""

_REMAINS = "VACUUM (FULL, ANALYZE) the tables in PostgreSQL, then `sessionledger maintain`"


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
    findings = Findings()
    for place in remains(connection):
        findings.add("erasure_remains", place, "it may have bytes of what was erased", _REMAINS)
    found = [*check(_View(connection, topic)), *findings.all()]
    connection.ask(("COMMIT", ()))  # so that it is kept: a server ends another a moment later
    return found


def remains(connection: Connection) -> tuple[str, ...]:
    """Where something may be left of what was erased."""
    (found,) = connection.ask((_LEFT, ()))
    if not found:
        return ()
    has_pages, has_statistics, has_log, *noted = found[0]
    if not has_log:
        (((has_log,),),) = connection.ask((_IN_LOG, tuple(noted)))
    told: tuple[tuple[Any, str], ...] = (
        (has_pages, PAGES),
        (has_statistics, STATISTICS),
        (has_log, LOG),
    )
    return tuple(name for is_left, name in told if is_left)
