"""Statements that a connection prepares once, and sends without a cursor.

psycopg's cursor looks for the types of all values in each call, and then for the statement that it
prepared for them. Here the server infers the types, once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from typing import Any, TypeAlias

from psycopg import Connection
from psycopg.abc import PQGen
from psycopg.adapt import Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

Wait: TypeAlias = Callable[[PQGen[PGresult]], PGresult]

MOST = 200
"""How many statements a connection keeps: more than there are shapes of listings."""

_PLAIN = frozenset({bytes, str, int, bool, type(None)})
_DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class PreparedStatements:
    """The statements of one connection. Their values have the types that the server infers.

    wait: waits for the server, as the connection does.
    """

    def __init__(self, raw: Connection[Any], wait: Wait) -> None:
        self._raw = raw.pgconn
        self._wait = wait
        self._names: dict[bytes, bytes] = {}
        self._numbers = count()
        self._results = Transformer(raw)

    def fetch(self, sql: bytes, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What a statement answers, outside of a transaction. Raises what psycopg does."""
        try:
            result = self._wait(self._executed(self._names.get(sql) or self._prepare(sql), values))
        except InvalidSqlStatementName:
            # psycopg lets the server forget all of them after a rollback, and after a change of
            # tables. So nothing was done yet.
            self._names.clear()
            result = self._wait(self._executed(self._prepare(sql), values))
        self._results.set_pgresult(result, format=Format.BINARY)
        return self._results.load_rows(0, result.ntuples, tuple)

    def _prepare(self, sql: bytes) -> bytes:
        # Beyond the most each is prepared for one call.
        is_kept = len(self._names) < MOST
        name = b"sessionledger_%d" % next(self._numbers) if is_kept else b""
        self._raw.send_prepare(name, _numbered(sql))
        self._wait(self._answered())
        if is_kept:
            self._names[sql] = name
        return name

    def _executed(self, name: bytes, values: Sequence[Any]) -> PQGen[PGresult]:
        # As texts they suit whatever type the server infers.
        formats = [isinstance(value, bytes) for value in values]
        sent = [_dumped(value) for value in values]
        self._raw.send_query_prepared(name, sent, formats, Format.BINARY)
        return (yield from self._answered())

    def _answered(self) -> PQGen[PGresult]:
        result: PGresult
        (result,) = yield from execute(self._raw)
        if result.status not in _DONE:
            raise error_from_result(result)
        return result


def are_plain(values: Sequence[Any]) -> bool:
    """Whether all values can be sent without psycopg's adaptation."""
    others = set(map(type, values)) - _PLAIN
    return all(issubclass(other, bytes) for other in others)


def _dumped(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return b"%d" % value


@cache
def _numbered(sql: bytes) -> bytes:
    """The statement with the server's own numbers for its values."""
    numbers = count(1)
    return re.sub(rb"%s", lambda _: b"$%d" % next(numbers), sql)
