"""The tables and every statement over them.

`topic_heads`, `events` and `consumers` are the reference's, column for column. An `events` that we
create has no rowid, which saves an index and changes no statement. Our own tables have names that
begin with `ledger_`:

- `ledger_meta`: the version of our schema.
- `ledger_topics`: a number for each topic, its head, and the id up to which its rows are folded,
  `reached`. Also the id of the mark in force, or 0, and the cut with its hash and its seal. For
  the row cache an epoch, and the last changes.
- `ledger_rows`: the newest state of every key, in the order of their creation. An index finds
  a key.
- `ledger_links`: for an event of a key that had one before, the id of the event before.
- `ledger_base`: what the removed events of a topic fold to, by generation. A generation is a cut.

Triggers copy every head into `ledger_topics`, whichever program wrote it. So a read learns whether
the rows are current without looking into the reference's table.

A newer schema gives `reached` another name. So a process of an older version that has the ledger
open fails at its next read or append. It would not know what the newer events mean.

The last changes are in `superseded`: the versions that were superseded by the events after `since`,
up to `until`. Each stands before a comma. NULL means that they are not known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from sessionledger.logs import chain
from sessionledger.logs.base import ALL_ROWS, OVER, Row, RowFilter, StoredEvent
from sessionledger.logs.sql import pagination, statements
from sessionledger.logs.sql.pagination import Shape
from sessionledger.logs.sql.statements import ROW_COLUMNS

SCHEMA_VERSION = 8

# The reference's tables, with the columns that make a file a ledger.
REQUIRED_COLUMNS = {
    "events": {"topic", "event_id", "kind", "payload", "headers", "occurred_at_ms"},
    "topic_heads": {"topic", "last_id"},
}

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS topic_heads (
        topic TEXT PRIMARY KEY,
        last_id INTEGER NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS events (
        topic TEXT NOT NULL,
        event_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        payload BLOB NOT NULL,
        headers TEXT NOT NULL,
        occurred_at_ms INTEGER NOT NULL,
        PRIMARY KEY (topic, event_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS consumers (
        topic TEXT NOT NULL,
        consumer_id TEXT NOT NULL,
        cursor INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL,
        PRIMARY KEY (topic, consumer_id)
    )""",
    "CREATE TABLE IF NOT EXISTS ledger_meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    """CREATE TABLE IF NOT EXISTS ledger_topics (
        id INTEGER PRIMARY KEY,
        topic TEXT NOT NULL UNIQUE,
        reached INTEGER NOT NULL,
        head INTEGER NOT NULL,
        epoch INTEGER NOT NULL DEFAULT 0,
        since INTEGER,
        until INTEGER,
        superseded TEXT,
        mark INTEGER NOT NULL DEFAULT 0,
        cut INTEGER NOT NULL DEFAULT 0,
        cut_hash TEXT,
        seal INTEGER NOT NULL DEFAULT 0,
        writing INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE IF NOT EXISTS ledger_rows (
        key BLOB NOT NULL,
        topic INTEGER NOT NULL,
        version INTEGER NOT NULL,
        created INTEGER NOT NULL,
        owner TEXT NOT NULL,
        expires INTEGER NOT NULL,
        live INTEGER NOT NULL,
        state BLOB NOT NULL,
        alias TEXT,
        group_name TEXT,
        replaced INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (key, topic)
    )""",
    """CREATE INDEX IF NOT EXISTS ledger_live_rows_by_owner
        ON ledger_rows (topic, owner, live, created)""",
    """CREATE INDEX IF NOT EXISTS ledger_live_rows_by_creation
        ON ledger_rows (topic, live, created)""",
    """CREATE INDEX IF NOT EXISTS ledger_rows_by_expiry ON ledger_rows
        (topic, expires, key, replaced) WHERE live""",
    """CREATE INDEX IF NOT EXISTS ledger_live_rows_by_alias
        ON ledger_rows (topic, alias, live, created) WHERE alias IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS ledger_live_rows_by_group
        ON ledger_rows (topic, group_name, live, created) WHERE group_name IS NOT NULL""",
    """CREATE TABLE IF NOT EXISTS ledger_links (
        topic INTEGER NOT NULL,
        event_id INTEGER NOT NULL,
        previous INTEGER NOT NULL,
        PRIMARY KEY (topic, event_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS ledger_base (
        topic INTEGER NOT NULL,
        key BLOB NOT NULL,
        generation INTEGER NOT NULL,
        entry BLOB NOT NULL,
        PRIMARY KEY (topic, key, generation)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER IF NOT EXISTS ledger_head_begun AFTER INSERT ON topic_heads BEGIN
        UPDATE ledger_topics SET head = NEW.last_id WHERE topic = NEW.topic;
    END""",
    """CREATE TRIGGER IF NOT EXISTS ledger_head_moved AFTER UPDATE ON topic_heads BEGIN
        UPDATE ledger_topics SET head = NEW.last_id WHERE topic = NEW.topic;
    END""",
    """CREATE TRIGGER IF NOT EXISTS ledger_head_removed AFTER DELETE ON topic_heads BEGIN
        UPDATE ledger_topics SET head = 0 WHERE topic = OLD.topic;
    END""",
)

FOLD_ALL_AGAIN = """DELETE FROM ledger_rows; DELETE FROM ledger_links;
    UPDATE ledger_topics SET reached = 0, superseded = NULL, mark = 0"""

# Made by the first compaction. Other programs do not know that events were removed, and might
# begin a session again that ended before. Our appends say that they write.
GUARD_EVENTS = """CREATE TRIGGER IF NOT EXISTS ledger_cut_guarded BEFORE INSERT ON events
    WHEN (SELECT cut AND NOT writing FROM ledger_topics WHERE topic = NEW.topic) BEGIN
        SELECT RAISE(ABORT, 'sessionledger compacted this topic: only sessionledger may append');
    END"""
DECLARE = "UPDATE ledger_topics SET writing = 1 WHERE id = ?"
DECLARE_NOTHING = "UPDATE ledger_topics SET writing = 0 WHERE id = ?"

# A ledger that was left for its copy: what reads or writes it is told so. So are processes of older
# versions, and the reference, which does not make a table where there is a view.
LEAVE = (
    'ALTER TABLE main."{name}" RENAME TO "moved_{name}"',
    'CREATE VIEW main."{name}" AS SELECT * FROM "{told}"',
)

# What brings a file of an older schema to this one, by the schema it has.
MIGRATIONS = {
    1: ("ALTER TABLE ledger_rows ADD COLUMN alias TEXT",),
    2: (
        "ALTER TABLE ledger_topics ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE ledger_topics ADD COLUMN since INTEGER",
        "ALTER TABLE ledger_topics ADD COLUMN until INTEGER",
        "ALTER TABLE ledger_topics ADD COLUMN superseded TEXT",
        "DROP TRIGGER IF EXISTS ledger_rows_removed",
        "DROP TRIGGER IF EXISTS ledger_rows_rewritten",
    ),
    3: (
        "ALTER TABLE ledger_rows ADD COLUMN group_name TEXT",
        "DROP INDEX IF EXISTS ledger_rows_by_owner",
        "DROP INDEX IF EXISTS ledger_rows_by_alias",
        """DELETE FROM ledger_rows; DELETE FROM ledger_links;
        UPDATE ledger_topics SET folded = 0, superseded = NULL""",
    ),
    4: (
        "ALTER TABLE ledger_topics RENAME COLUMN folded TO upto",
        "ALTER TABLE ledger_topics ADD COLUMN mark INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE ledger_rows ADD COLUMN replaced INTEGER NOT NULL DEFAULT 0",
        "DROP INDEX IF EXISTS ledger_rows_by_expiry",
        """DELETE FROM ledger_rows; DELETE FROM ledger_links;
        UPDATE ledger_topics SET upto = 0, superseded = NULL, mark = 0""",
    ),
    5: (
        "ALTER TABLE ledger_topics RENAME COLUMN upto TO covered",
        "ALTER TABLE ledger_topics ADD COLUMN cut INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE ledger_topics ADD COLUMN cut_hash TEXT",
        "ALTER TABLE ledger_topics ADD COLUMN seal INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE ledger_topics ADD COLUMN writing INTEGER NOT NULL DEFAULT 0",
    ),
    6: ("ALTER TABLE ledger_topics RENAME COLUMN covered TO reached",),
    7: (),
}

ALL_TABLES = frozenset(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", "".join(SCHEMA)))
# All our names that the schema makes.
NAMES = frozenset(re.findall(r"IF NOT EXISTS (ledger_\w+)", "".join(SCHEMA)))
OUR_NAMES = "SELECT name FROM sqlite_master WHERE name GLOB 'ledger_*'"
COPY_HEADS = """UPDATE ledger_topics SET head =
    ifnull((SELECT last_id FROM topic_heads WHERE topic_heads.topic = ledger_topics.topic), 0)"""

# The tables that are folded from the log, and how to have all of it folded again.
ROW_TABLES = {"ledger_topics", "ledger_rows", "ledger_links"}

TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
COLUMNS = "SELECT name FROM pragma_table_info(?)"
STATISTICS = "SELECT name FROM sqlite_master WHERE name GLOB 'sqlite_stat*'"
READ_META = "SELECT value FROM ledger_meta WHERE name = ?"
WRITE_META = "INSERT OR REPLACE INTO ledger_meta (name, value) VALUES (?, ?)"

# Answers only if the rows are folded up to the topic's head, and no mark ended this one. The same
# snapshot tells that, for one look-up by number.
STATE_IF_CURRENT = (
    f"SELECT version,iif(live,expires,{OVER}),state FROM ledger_rows "
    "WHERE key=? AND topic={0} AND"
    "(SELECT head=reached AND mark<created FROM ledger_topics WHERE id={0})"
)
# The same, and what tells whether other rows are as they were.
STATE_AND_CHANGES = f"""SELECT version, iif(live, expires, {OVER}), state,
    head = reached, head, epoch, since, until, superseded
    FROM ledger_topics
    LEFT JOIN ledger_rows ON key = ? AND ledger_rows.topic = {{0}} AND created > mark
    WHERE id = {{0}}"""
# For a cache that missed too many writes; NULL for more than so many versions.
SUPERSEDED_BETWEEN = """SELECT
    iif(count(*) > 256, NULL, ifnull(group_concat(previous || ',', ''), ''))
    FROM (SELECT previous FROM ledger_links
        WHERE topic = ? AND event_id > ? AND event_id <= ? ORDER BY event_id LIMIT 257)"""
ROWS_OF_KEYS = f"SELECT {ROW_COLUMNS} FROM ledger_rows WHERE topic = ? AND key IN ({{}})"
ROW = ROWS_OF_KEYS.format("?")
# With the plus the rows come in the order of their keys, and are not sorted: see `listing`.
ROWS_AFTER = f"""SELECT {ROW_COLUMNS} FROM ledger_rows
    WHERE +topic = ? AND key > ? ORDER BY key LIMIT ?"""
# Bytes come after everything else in SQLite's order.
COUNT_STRANGE_KEYS = """SELECT count(*) FROM ledger_rows
    WHERE key <= x'' AND +topic = (SELECT id FROM ledger_topics WHERE topic = ?)"""
TOPIC = "SELECT id, reached, mark FROM ledger_topics WHERE topic = ?"
TOPIC_LINE = """SELECT id, reached, ifnull((SELECT last_id FROM topic_heads WHERE topic = ?1), 0),
    mark, cut FROM ledger_topics WHERE topic = ?1"""
COPIED_HEAD = "SELECT head FROM ledger_topics WHERE topic = ?"
INTEGRITY = "PRAGMA integrity_check(1000)"

# As bytes and as a number, whatever a stranger stored: SQLite's types are those of the values.
EVENT_COLUMNS = """event_id, CAST(kind AS BLOB), CAST(payload AS BLOB), CAST(headers AS BLOB),
    CAST(occurred_at_ms AS INTEGER)"""
EVENTS_AFTER = statements.EVENTS_AFTER.format(EVENT_COLUMNS)
GAP = statements.GAP.format(EVENT_COLUMNS)
# In a file that others write an id can be anything; this skips what is no number.
SOUND_EVENTS_AFTER = f"""SELECT {EVENT_COLUMNS} FROM events
    WHERE topic = ? AND event_id > ? AND typeof(event_id) = 'integer' ORDER BY event_id LIMIT ?"""
COUNT_STRANGE_IDS = """SELECT count(*) FROM events
    WHERE topic = ? AND (typeof(event_id) <> 'integer' OR event_id < 1)"""
EVENT = f"SELECT {EVENT_COLUMNS} FROM events WHERE topic = ? AND event_id = ?"
VERSION_OF_KEY = "SELECT version FROM ledger_rows WHERE topic = ? AND key = ?"
KEY_HISTORY = """WITH RECURSIVE history (id) AS (
        SELECT version FROM ledger_rows WHERE key = ?1 AND topic = ?2
        UNION ALL
        SELECT previous FROM ledger_links JOIN history
            ON ledger_links.topic = ?2 AND ledger_links.event_id = history.id
            AND previous < history.id
    ) SELECT id FROM history"""

ADD_TOPIC = """INSERT INTO ledger_topics (topic, reached, head, epoch) VALUES
    (?1, 0, ifnull((SELECT last_id FROM topic_heads WHERE topic = ?1), 0), random()) RETURNING id"""
# The line keeps the changes of several writes, one after the other, until it is long enough.
_GOES_ON = "until = ?2 AND length(superseded) < 512"
SET_FOLDED = f"""UPDATE ledger_topics SET reached = ?1, writing = 0, until = ?1,
    since = iif({_GOES_ON}, since, ?2),
    superseded = iif({_GOES_ON}, superseded || ?3, ?3)
    WHERE id = ?4"""
SET_UNFOLDED = "UPDATE ledger_topics SET reached = cut, superseded = NULL, mark = 0 WHERE id = ?"
# No version shows that a history begins later now.
SET_CUT = """UPDATE ledger_topics SET cut = ?, cut_hash = ?, seal = ?, epoch = random()
    WHERE id = ?"""
GIVE_BACK = "PRAGMA incremental_vacuum(32)"
CUT = "SELECT id, cut, cut_hash, seal FROM ledger_topics WHERE topic = ?"
REMOVE_LINKS = "DELETE FROM ledger_links WHERE topic = ? AND event_id <= ?"
# Rows are read otherwise then, and no version shows it. So the caches begin again.
SET_MARK = "UPDATE ledger_topics SET mark = ?, epoch = random() WHERE id = ?"
SET_HEAD = """INSERT INTO topic_heads (topic, last_id) VALUES (?, ?)
    ON CONFLICT (topic) DO UPDATE SET last_id = excluded.last_id"""
# Whatever fails in a transaction ends all of it. So says OR ROLLBACK, and saves SQLite the copies
# of every page that it would keep to undo the statement alone.
ADD_EVENTS = """INSERT OR ROLLBACK INTO events
    (topic, event_id, kind, payload, headers, occurred_at_ms) VALUES {}"""
ADD_ROWS = f"""INSERT OR ROLLBACK INTO ledger_rows
    (topic, {ROW_COLUMNS}) VALUES {{}}"""
# Of rows that stand where they stood in the indexes of names.
RENEW_ROWS = f"""INSERT INTO ledger_rows
    (topic, {ROW_COLUMNS}) VALUES {{}}
    ON CONFLICT (key, topic) DO UPDATE SET version = excluded.version,
    expires = excluded.expires, state = excluded.state, replaced = excluded.replaced"""
END_ROWS = f"{RENEW_ROWS}, live = excluded.live"
PUT_ROWS = f"""{END_ROWS}, created = excluded.created, owner = excluded.owner,
    alias = excluded.alias, group_name = excluded.group_name"""
# What shrinks in its place leaves room that nothing else takes. A deletion fills pages up again.
REPLACE_ROWS = f"INSERT OR REPLACE INTO ledger_rows (topic, {ROW_COLUMNS}) VALUES {{}}"
REPLACE_BASE = "INSERT OR REPLACE INTO ledger_base (topic, key, generation, entry) VALUES (?,?,?,?)"
ADD_LINKS = "INSERT OR REPLACE INTO ledger_links (topic, event_id, previous) VALUES {}"


def stored_events(lines: Iterable[Any]) -> list[StoredEvent]:
    """The events of lines of `events`, as far as they are events: this never raises."""
    return [
        StoredEvent(
            id,
            (kind or b"").decode(errors="replace"),
            payload or b"",
            chain.decode_headers(headers or b""),
            occurred_at_ms or 0,
        )
        for id, kind, payload, headers, occurred_at_ms in lines
    ]


def stored_rows(lines: Iterable[Any]) -> list[Row]:
    """The rows of lines of `ledger_rows`."""
    return [
        Row(key, version, created, owner, expires, live == 1, state, alias, group, replaced == 1)
        for key, version, created, owner, expires, live, state, alias, group, replaced in lines
    ]


def inserting(statement: str, columns: int, lines: int) -> str:
    """The statement with a parameter for each value of so many lines."""
    line = "(" + ",".join("?" * columns) + ")"
    return statement.format(",".join([line] * lines))


def listing(
    what: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int | None = None
) -> tuple[str, list[Any]]:
    """The statement that lists or counts rows, and the values that follow the topic's number."""
    shape, values = pagination.bind(where, after, limit)
    return _listing(what, shape), values


_TOPIC_IF_CURRENT = (
    "topic = (SELECT id FROM ledger_topics WHERE id = ?1 AND reached = head AND mark = 0)"
)


@cache
def if_current(listing: str) -> str:
    """The listing, which answers nothing where the rows are behind, or a mark is in force."""
    return listing.replace("topic = ?1", _TOPIC_IF_CURRENT)


_MARK = "(SELECT mark FROM ledger_topics WHERE id = :topic)"
_UNMARKED = f"created > {_MARK}"
# Without a mark the indexes answer alone, and no row is looked up for its creation.
_UNMARKED_OF_ALL = f"({_MARK} = 0 OR {_UNMARKED})"
_HALVES = ("live = 1", "live = 0")


@cache
def _listing(what: str, shape: Shape) -> str:
    """The text of a listing by which of its values are given.

    A `+` keeps SQLite from choosing an index by that column. SQLite does not know how many rows
    there are, and would walk all live ones for the few of one owner.
    """
    by_key = shape.limit and not shape.by_creation and not shape.by_end
    is_live = "live = 1" if shape.by_creation else "live"
    conditions = {
        f"{'+' if by_key else ''}topic = ?": True,
        f"{'+' if shape.group else ''}owner = ?": shape.owner,
        f"{'+' if shape.owner or shape.group else ''}alias = ?": shape.alias,
        "group_name = ?": shape.group,
        f"{is_live} AND {'+' if by_key or shape.by_creation else ''}expires > ?": shape.live_at,
        "live AND expires < ?": shape.ends,
        "? < created": shape.since,
        "NOT replaced": shape.standing,
        shape.follows: shape.after,
        _UNMARKED if shape.by_creation else _UNMARKED_OF_ALL: shape.live,
        f"live AND created < {_MARK}": shape.marked,
    }
    # The indexes by creation have live rows apart from the others.
    halves = _HALVES if shape.by_creation and not shape.live_at else ()
    if shape.over:
        halves = (f"live = 1 AND created < {_MARK}", "live = 0")
    listing = shape.select(what, "ledger_rows", conditions, halves)
    return listing.replace(":topic", "?1")
