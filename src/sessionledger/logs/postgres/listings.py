"""The statements that list or count rows."""

from __future__ import annotations

import re
from functools import cache

from sessionledger.logs.sql.pagination import Shape


@cache
def with_line(sql: str) -> str:
    """A statement with the topic's line before each of its own, and before none. Its values come
    after the topic's name."""
    return f"""SELECT reached, last_id, mark, found.* FROM (VALUES (1)) AS once
        LEFT JOIN main.topic_heads ON topic_heads.topic = %s
        LEFT JOIN LATERAL ({sql}) AS found ON true"""


_OF_LINE = "WITH line AS (SELECT number, mark FROM main.topic_heads WHERE topic = %s) "


@cache
def text_of(what: str, shape: Shape) -> str:
    """The statement that lists or counts rows, by which of its values are given."""
    conditions = {
        "topic = (SELECT number FROM line)": True,
        "created > (SELECT mark FROM line)": shape.live,
        "live AND created < (SELECT mark FROM line)": shape.marked,
        "owner = ?": shape.owner,
        "alias = ?": shape.alias,
        "group_name = ?": shape.group,
        "live AND expires > ?": shape.live_at,
        "live AND expires < ?": shape.ends,
        "? < created": shape.since,
        "NOT replaced": shape.standing,
        shape.follows: shape.after,
    }
    halves: tuple[str, ...] = ()
    if shape.over:
        halves = ("NOT live", "live AND created < (SELECT mark FROM line)")
    elif shape.by_creation and not shape.named and not shape.live_at:
        halves = ("live", "NOT live")
    table = "main.ledger_rows"
    if what.startswith("count(") or not halves:
        listing = shape.select(what, table, conditions, halves)
    else:
        # Each half has its own order, or the server sorts all rows.
        found = [shape.select(what, table, {**conditions, half: True}) for half in halves]
        page = " LIMIT ?0" if shape.limit else ""
        listing = (
            f"{' UNION ALL '.join(f'({half})' for half in found)} ORDER BY {shape.order}{page}"
        )
    return _OF_LINE + re.sub(r"\?\d+", "%s", listing)
