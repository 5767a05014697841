"""The entries of a base, as a database keeps them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from sessionledger.logs.base import Row
from sessionledger.logs.compaction.seal import decode_row
from sessionledger.logs.sql import statements

Select: TypeAlias = Callable[..., list[Any]]
"""All lines of a statement, given with its values."""

_KEYS_A_STATEMENT = 64


def base_page(select: Select, number: int, generation: int, after: bytes, limit: int) -> list[Row]:
    """The rows of the base of a topic behind a key, as of a generation."""
    values = (number, after, generation, generation, limit)
    return [decode_row(entry) for (entry,) in select(statements.BASE_AFTER, *values)]


def base_rows(
    select: Select, number: int, generation: int, keys: Collection[bytes]
) -> dict[bytes, Row]:
    """The rows of these keys in the base of a topic, as of a generation."""
    rows: dict[bytes, Row] = {}
    listed = list(keys)
    for start in range(0, len(listed), _KEYS_A_STATEMENT):
        few = listed[start : start + _KEYS_A_STATEMENT]
        sql = statements.BASE_OF_KEYS.format(",".join("?" * len(few)))
        for (entry,) in select(sql, number, *few, generation, generation):
            row = decode_row(entry)
            rows[row.key] = row
    return rows
