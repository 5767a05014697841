"""A copy in a schema of its own, which gets the name of another one once it is whole."""

from __future__ import annotations

from contextlib import closing
from urllib.parse import quote

from sessionledger.errors import LogUnavailable
from sessionledger.logs.base import Log
from sessionledger.logs.compaction.contract import UNOPENED
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.append import functions
from sessionledger.logs.postgres.connection import Connection
from sessionledger.logs.postgres.log import PostgresLog
from sessionledger.logs.postgres.opening import address_of, prepare

_END = "_copy"


class StagedSchema:
    """As `Staged`."""

    def __init__(self, url: str) -> None:
        address = address_of(url)
        self._schema = address.schema
        self.location = address.location
        target, _, query = url.partition("?")
        others = [pair for pair in query.split("&") if pair and not pair.startswith("schema=")]
        asked = "&".join([*others, f"schema={quote(self._schema + _END)}"])
        self._url = f"{target}?{asked}"

    def is_there(self) -> bool:
        with closing(_Unprepared(self._url)) as log:
            return bool(log.asked(queries.TABLES_THERE, self._schema + _END))

    def open(self) -> Log:
        with closing(_Unprepared(self._url)) as log:
            if log.asked(queries.TABLES_THERE, self._schema):
                raise LogUnavailable(
                    f"{self.location} has tables already: name another schema, ?schema=name"
                )
        return _StagedLog(self._url)

    def put(self) -> None:
        with closing(_Unprepared(self._url)) as log:
            log.rename(self._schema)


class _StagedLog(PostgresLog):
    """A ledger with a mark, by which no other log opens it."""

    def _prepare(self, connection: Connection) -> None:
        if connection.ask((queries.TABLES_THERE, (self.address.schema,)))[0]:
            connection.ask((queries.MARK_SCHEMA, (-UNOPENED, UNOPENED)))
        self._has_functions = prepare(connection, self.address, self.durability)
        connection.ask((queries.MARK_SCHEMA, (UNOPENED, 0)))


class _Unprepared(PostgresLog):
    """A ledger that is not opened, and perhaps not there."""

    def _prepare(self, connection: Connection) -> None:
        """Nothing is made."""

    def asked(self, sql: str, *values: str) -> list[tuple[object, ...]]:
        """What one statement answers."""
        return self._select(sql, values)

    def rename(self, schema: str) -> None:
        """Give the schema another name, which no schema with tables has, and remove the mark."""
        made = (*queries.FUNCTIONS, *functions.FUNCTIONS.values())
        named = [statement.replace("main.", f'"{schema}".') for statement in made]
        with self._connection() as connection:
            connection.ask(
                ("BEGIN", ()),
                (queries.MARK_SCHEMA, (-UNOPENED, UNOPENED)),
                (f'DROP SCHEMA IF EXISTS "{schema}"', ()),
                (f'ALTER SCHEMA "{self.address.schema}" RENAME TO "{schema}"', ()),
                *((statement, ()) for statement in named),
                ("COMMIT", ()),
            )
