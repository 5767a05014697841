"""The tables and every statement over them. `main.` stands for the schema of the ledger.

`topic_heads`, `events` and `consumers` are the reference's, column for column. The columns that we
add have defaults, so a program that writes as the reference does is a proper writer.

- `topic_heads`: a topic's newest id, a number for the topic, and the id up to which its rows are
  folded, `reached`. Also the id of the mark in force, or 0, and the cut with its hash and its seal.
  An append locks this line.
- `ledger_rows`: the newest state of every key.
- `ledger_links`: which events a key has.
- `ledger_base`: what the removed events of a topic fold to, by generation. A generation is a cut.
- `ledger_meta`: the version of our schema.
- `ledger_documents`: what a `DocumentLog` keeps. It may hold secrets.

Owners and aliases are bytes, in UTF-8: texts can't hold NUL here, and have an order of their own.
Ids come from the topic's line, which stays locked until they are committed. Those of a sequence
would become visible out of order, and readers would skip events.

A newer schema gives `reached` another name. So a process of an older version that has the ledger
open fails at its next read or append. It would not know what the newer events mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from sessionledger.logs import chain
from sessionledger.logs.base import ALL_ROWS, OVER, Row, RowFilter, StoredEvent
from sessionledger.logs.postgres import listings
from sessionledger.logs.sql import pagination, statements
from sessionledger.logs.sql.statements import ROW_COLUMNS

SCHEMA_VERSION = 6
TABLES = frozenset({"topic_heads", "events", "consumers", "ledger_meta"})

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS main.topic_heads (
        topic text COLLATE "C" PRIMARY KEY,
        last_id bigint NOT NULL,
        number integer NOT NULL GENERATED ALWAYS AS IDENTITY UNIQUE,
        reached bigint NOT NULL DEFAULT 0,
        mark bigint NOT NULL DEFAULT 0,
        cut bigint NOT NULL DEFAULT 0,
        cut_hash text,
        seal bigint NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE IF NOT EXISTS main.events (
        topic text COLLATE "C" NOT NULL,
        event_id bigint NOT NULL,
        kind text NOT NULL,
        payload bytea NOT NULL,
        headers text NOT NULL,
        occurred_at_ms bigint NOT NULL,
        PRIMARY KEY (topic, event_id)
    )""",
    """CREATE TABLE IF NOT EXISTS main.consumers (
        topic text COLLATE "C" NOT NULL,
        consumer_id text COLLATE "C" NOT NULL,
        cursor bigint NOT NULL,
        updated_at_ms bigint NOT NULL,
        PRIMARY KEY (topic, consumer_id)
    )""",
    "CREATE TABLE IF NOT EXISTS main.ledger_meta (name text PRIMARY KEY, value text NOT NULL)",
    """CREATE TABLE IF NOT EXISTS main.ledger_rows (
        topic integer NOT NULL,
        key bytea NOT NULL,
        version bigint NOT NULL,
        created bigint NOT NULL,
        owner bytea NOT NULL,
        expires bigint NOT NULL,
        live boolean NOT NULL,
        state bytea NOT NULL,
        alias bytea,
        group_name bytea,
        replaced boolean NOT NULL DEFAULT false,
        PRIMARY KEY (topic, key)
    ) WITH (fillfactor = 90)""",
    """CREATE INDEX IF NOT EXISTS ledger_rows_by_owner
        ON main.ledger_rows (topic, owner, created)""",
    """CREATE INDEX IF NOT EXISTS ledger_rows_by_creation
        ON main.ledger_rows (topic, live, created)""",
    """CREATE INDEX IF NOT EXISTS ledger_live_rows_by_owner
        ON main.ledger_rows (topic, owner, created) WHERE live""",
    """CREATE INDEX IF NOT EXISTS ledger_live_rows_by_group
        ON main.ledger_rows (topic, group_name, created) WHERE live AND group_name IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS ledger_rows_by_expiry
        ON main.ledger_rows (topic, expires, key) INCLUDE (replaced) WHERE live""",
    """CREATE INDEX IF NOT EXISTS ledger_rows_by_alias
        ON main.ledger_rows (topic, alias, created) WHERE alias IS NOT NULL""",
    """CREATE TABLE IF NOT EXISTS main.ledger_links (
        topic integer NOT NULL,
        key bytea NOT NULL,
        event_id bigint NOT NULL,
        PRIMARY KEY (topic, key, event_id)
    )""",
    """CREATE TABLE IF NOT EXISTS main.ledger_base (
        topic integer NOT NULL,
        key bytea NOT NULL,
        generation bigint NOT NULL,
        entry bytea NOT NULL,
        PRIMARY KEY (topic, key, generation)
    )""",
    "CREATE TABLE IF NOT EXISTS main.ledger_documents (name text PRIMARY KEY, body bytea NOT NULL)",
)

# What brings a schema to the next one, by the version that it has.
MIGRATIONS = {
    1: (
        "ALTER TABLE main.ledger_rows ADD COLUMN group_name bytea",
        "DELETE FROM main.ledger_rows",
        "DELETE FROM main.ledger_links",
        "UPDATE main.topic_heads SET folded = 0",
    ),
    2: (
        "ALTER TABLE main.topic_heads RENAME COLUMN folded TO upto",
        "ALTER TABLE main.topic_heads ADD COLUMN mark bigint NOT NULL DEFAULT 0",
        "ALTER TABLE main.ledger_rows ADD COLUMN replaced boolean NOT NULL DEFAULT false",
        "DROP INDEX IF EXISTS main.ledger_rows_by_expiry",
        "DELETE FROM main.ledger_rows",
        "DELETE FROM main.ledger_links",
        "UPDATE main.topic_heads SET upto = 0",
    ),
    3: (
        "ALTER TABLE main.topic_heads RENAME COLUMN upto TO covered",
        "ALTER TABLE main.topic_heads ADD COLUMN cut bigint NOT NULL DEFAULT 0",
        "ALTER TABLE main.topic_heads ADD COLUMN cut_hash text",
        "ALTER TABLE main.topic_heads ADD COLUMN seal bigint NOT NULL DEFAULT 0",
    ),
    4: ("ALTER TABLE main.topic_heads RENAME COLUMN covered TO reached",),
    5: (),  # a new table alone: a process of the version before may go on
}

# Made by the first compaction. Other programs do not know that events were removed, and might
# begin a session again that ended before. Our connections say what they are.
GUARD_THERE = """SELECT true FROM pg_trigger
    WHERE tgrelid = 'main.events'::regclass AND tgname = 'ledger_cut_guarded'"""
GUARD_EVENTS = (
    """CREATE OR REPLACE FUNCTION main.ledger_refuse_append() RETURNS trigger
    LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT cut > 0 FROM main.topic_heads WHERE topic_heads.topic = NEW.topic) THEN
            RAISE EXCEPTION
                'sessionledger compacted this topic: only sessionledger may append';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE OR REPLACE TRIGGER ledger_cut_guarded BEFORE INSERT ON main.events FOR EACH ROW
    WHEN (pg_catalog.current_setting('sessionledger.writes', true) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION main.ledger_refuse_append()""",
)

# A ledger that was left for its copy: what reads or writes it is told so, in whatever version. The
# server makes a constant of the function when it plans a statement, or a check of a write.
TABLES_IN_ORDER = tuple(re.findall(r"CREATE TABLE IF NOT EXISTS main\.(\w+)", "".join(SCHEMA)))
EXCLUDE = f"LOCK TABLE {', '.join(f'main.{name}' for name in TABLES_IN_ORDER)} IN {{}} MODE"
SET_MOVED = "INSERT INTO main.ledger_meta VALUES ('moved', %s)"
REFUSE = """CREATE FUNCTION main.ledger_moved() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RAISE EXCEPTION '{}%', (SELECT value FROM main.moved_ledger_meta WHERE name = 'moved');
    END $$"""
LEAVE = (
    "ALTER TABLE main.{0} RENAME TO moved_{0}",
    """CREATE VIEW main.{0} AS SELECT * FROM main.moved_{0} WHERE main.ledger_moved()
    WITH LOCAL CHECK OPTION""",
)

# Those whose text names the schema.
FUNCTIONS = (GUARD_EVENTS[0],)

# -- opening

# Each statement has one way through the indexes, whatever its values, so one plan is enough.
# A role or a database may have other settings. Those would change what is stored, or which rows a
# statement sees once it has a lock.
# Nobody holds a topic's line for longer than its statements take, and nobody waits for ever. An
# answer means that the write is flushed, or more where the server says so. A warning beside it
# means that a standby was not waited for.
#
# A pooler gives the client another number than the server's process has. Behind one, the settings
# are local to a transaction, as the server's session may be another client's in between.
# With row_security off, a policy that would hide rows is an error.
_VALUES = {
    "search_path": "'pg_catalog'",
    "standard_conforming_strings": "'on'",
    "client_min_messages": "'warning'",
    "array_nulls": "'on'",
    "row_security": "'off'",
    "default_transaction_isolation": "'read committed'",
    "default_transaction_deferrable": "'off'",
    "plan_cache_mode": "'force_generic_plan'",
    "enable_sort": "'off'",
    "enable_bitmapscan": "'off'",
    "statement_timeout": "'0'",
    "idle_session_timeout": "'0'",
    "idle_in_transaction_session_timeout": "'10s'",
    "lock_timeout": "%s",
    "sessionledger.writes": "'on'",
    "synchronous_commit": """CASE WHEN %s THEN 'off'
        WHEN pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=)
            ANY (ARRAY['off', 'local']) THEN 'on'
        ELSE pg_catalog.current_setting('synchronous_commit') END""",
}
SETTINGS = f"""SELECT is_pooled, pg_catalog.pg_is_in_recovery(), {
    ", ".join(f"pg_catalog.set_config('{n}', {v}, is_pooled)" for n, v in _VALUES.items())
}, CASE WHEN pg_catalog.current_setting('server_version_num')::integer
        OPERATOR(pg_catalog.>=) 170000
    THEN pg_catalog.set_config('transaction_timeout', '0', is_pooled) END
    FROM (SELECT pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.<>) %s::integer AS is_pooled)
        AS server"""
SERVER = """SELECT current_setting('server_version_num')::integer,
    current_setting('server_version'), current_setting('server_encoding'),
    current_setting('fsync')"""
TABLES_THERE = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
# Those of a schema that was renamed speak of tables elsewhere.
# The names come first: by them alone the catalogue has an index.
FUNCTIONS_THERE = """SELECT proname FROM pg_proc WHERE proname = ANY (%s)
    AND pronamespace = to_regnamespace(%s)
    AND position('"' || %s || '".ledger_rows' IN prosrc) > 0"""
SCHEMA_EXISTS = "SELECT true FROM pg_namespace WHERE nspname = %s"
# Processes that create the tables at the same time wait: IF NOT EXISTS alone may fail then.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('sessionledger'), hashtext(%s))"
READ_SCHEMA_VERSION = "SELECT value FROM main.ledger_meta WHERE name = 'schema'"
WRITE_SCHEMA_VERSION = """INSERT INTO main.ledger_meta VALUES ('schema', %s)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""

# By so much, if it is above a number.
MARK_SCHEMA = """UPDATE main.ledger_meta SET value = (value::bigint + %s)::text
    WHERE name = 'schema' AND value::bigint > %s"""

DESCRIBE = """SELECT current_setting('server_version'),
    (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r')"""

# -- transactions

BEGIN_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED"
UNHURRIED = "SET LOCAL idle_in_transaction_session_timeout TO 0"
FLUSHED = "SET LOCAL synchronous_commit TO on"
BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# What became of a transaction whose answer was lost, and then what stands under its first id.
FATE = "SELECT pg_xact_status(%s::xid8)"
HEADERS = "SELECT headers FROM main.events WHERE topic = %s AND event_id = %s"
DOCUMENT = "SELECT body FROM main.ledger_documents WHERE name = %s"
REPLACE_DOCUMENT = """INSERT INTO main.ledger_documents AS kept (name, body)
    SELECT %s, %s WHERE %s = '' OR EXISTS (SELECT FROM main.ledger_documents WHERE name = %s)
    ON CONFLICT (name) DO UPDATE SET body = excluded.body
        WHERE kept.body IN (%s, excluded.body) RETURNING true"""
TOUCH_META = "UPDATE main.ledger_meta SET value = value WHERE name = 'schema'"

# -- the tail

# Something to flush, which is in no table and locks nothing. Its commit waits for standbys.
HEARTBEAT = """SELECT pg_is_in_recovery(),
    (SELECT value FROM main.ledger_meta WHERE name = 'epoch'),
    pg_logical_emit_message(true, 'sessionledger', '')::text"""
HEADS = "SELECT topic, last_id FROM main.topic_heads WHERE topic = ANY (%s::text[])"
# Tells the caches of other processes that rows were rewritten without an event.
NEW_EPOCH = """INSERT INTO main.ledger_meta VALUES ('epoch', gen_random_uuid()::text)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""

# -- topics and events

_NUMBER = "(SELECT number FROM main.topic_heads WHERE topic_heads.topic = %s)"

ADD_TOPIC = """INSERT INTO main.topic_heads (topic, last_id) VALUES (%s, 0)
    ON CONFLICT (topic) DO NOTHING"""
LOCK_TOPIC = """SELECT number, reached, last_id, mark, cut, pg_current_xact_id()::text
    FROM main.topic_heads WHERE topic = %s FOR NO KEY UPDATE"""
TOPIC = "SELECT number, reached, last_id, mark FROM main.topic_heads WHERE topic = %s"
MOVE_HEAD = "UPDATE main.topic_heads SET last_id = %s WHERE topic = %s"
SET_FOLDED = "UPDATE main.topic_heads SET reached = %s WHERE topic = %s"
CUT = "SELECT number, cut, cut_hash, seal FROM main.topic_heads WHERE topic = %s"
SET_CUT = "UPDATE main.topic_heads SET cut = %s, cut_hash = %s, seal = %s WHERE topic = %s"
LINKS_AFTER = """SELECT key, event_id FROM main.ledger_links
    WHERE topic = %s AND (key, event_id) > (%s, %s) AND event_id <= %s
    ORDER BY key, event_id LIMIT %s"""
REMOVE_LINKS = """DELETE FROM main.ledger_links AS l
    USING unnest(%s::bytea[], %s::bigint[]) AS gone (key, event_id)
    WHERE l.topic = %s AND l.key = gone.key AND l.event_id = gone.event_id"""
FORGET_LINKS = """DELETE FROM main.ledger_links
    WHERE topic = %s AND key = ANY (%s::bytea[]) AND event_id <= %s"""
TRY_TO_LEASE = """SELECT
    pg_try_advisory_xact_lock(hashtext('sessionledger maintenance'), hashtext(%s))"""
SET_MARK = "UPDATE main.topic_heads SET mark = %s WHERE topic = %s"

EVENT_COLUMNS = "event_id, kind, payload, headers, occurred_at_ms"
EVENTS_AFTER = statements.EVENTS_AFTER.format(EVENT_COLUMNS)
GAP = statements.GAP.format(EVENT_COLUMNS)
NEWEST_EVENT = f"""SELECT {EVENT_COLUMNS} FROM main.events
    WHERE topic = %s AND event_id =
        (SELECT last_id FROM main.topic_heads WHERE topic_heads.topic = %s)"""
EVENTS_OF_KEY = f"""SELECT {EVENT_COLUMNS} FROM main.events
    WHERE topic = %s AND event_id = ANY (ARRAY(
        SELECT event_id FROM main.ledger_links
        WHERE topic = {_NUMBER} AND key = %s AND event_id > %s ORDER BY event_id LIMIT %s))
    ORDER BY event_id"""
ADD_EVENTS = """INSERT INTO main.events
    (topic, event_id, kind, payload, headers, occurred_at_ms)
    SELECT %s, * FROM unnest(%s::bigint[], %s::text[], %s::bytea[], %s::text[], %s::bigint[])"""

# -- rows

# A row that is not there is a line as well. `is_current` says whether the line is the answer: the
# rows are folded up to the topic's head, and no mark ended this one.
_STATE = f"""SELECT reached = last_id AND (created IS NULL OR mark < created) AS is_current,
    version, CASE WHEN live THEN expires ELSE {OVER} END, state, key
    FROM main.topic_heads LEFT JOIN main.ledger_rows ON ledger_rows.topic = number AND key = """
STATE = _STATE + "%s WHERE topic_heads.topic = %s"
STATES = _STATE + "ANY (%s::bytea[]) WHERE topic_heads.topic = %s"
# With the newest event, for those who keep the rows.
STATES_TO_KEEP = STATES.replace(
    "state, key",
    """state, key, last_id, (SELECT headers FROM main.events
        WHERE events.topic = topic_heads.topic AND event_id = last_id)""",
    1,
)
ROWS_OF_KEYS = f"""SELECT {ROW_COLUMNS} FROM main.ledger_rows
    WHERE topic = {_NUMBER} AND key = ANY (%s::bytea[])"""
ROWS_OF_GROUPS = f"""SELECT {ROW_COLUMNS} FROM main.ledger_rows WHERE topic = {_NUMBER}
    AND group_name = ANY (%s::bytea[]) AND live AND group_name IS NOT NULL ORDER BY created"""
ROW = f"SELECT {ROW_COLUMNS} FROM main.ledger_rows WHERE topic = {_NUMBER} AND key = %s"
ROWS_AFTER = f"""SELECT {ROW_COLUMNS} FROM main.ledger_rows
    WHERE topic = {_NUMBER} AND key > %s ORDER BY key LIMIT %s"""
PUT_ROWS = f"""INSERT INTO main.ledger_rows (topic, {ROW_COLUMNS})
    SELECT %s, * FROM unnest(%s::bytea[], %s::bigint[], %s::bigint[], %s::bytea[], %s::bigint[],
        %s::boolean[], %s::bytea[], %s::bytea[], %s::bytea[], %s::boolean[])
    ON CONFLICT (topic, key) DO UPDATE SET version = excluded.version,
        created = excluded.created, owner = excluded.owner, expires = excluded.expires,
        live = excluded.live, state = excluded.state, alias = excluded.alias,
        group_name = excluded.group_name, replaced = excluded.replaced"""
ADD_LINKS = """INSERT INTO main.ledger_links (topic, key, event_id)
    SELECT %s, * FROM unnest(%s::bytea[], %s::bigint[])
    ON CONFLICT (topic, key, event_id) DO NOTHING"""

ADD_ROWS = f"WITH rows AS ({PUT_ROWS}) {ADD_LINKS}"


def listing(
    what: str, where: RowFilter = ALL_ROWS, after: Row | None = None, limit: int | None = None
) -> tuple[str, list[Any]]:
    """The statement that lists or counts rows, and the values that follow the topic's name."""
    shape, values = pagination.bind(where, after, limit)
    texts_as_bytes = [v.encode() if isinstance(v, str) else v for v in values]
    sql = listings.text_of(what, shape)
    if " UNION ALL " in sql:  # of two halves with the same values, and with the limit of each
        texts_as_bytes = [*texts_as_bytes * 2, *([limit] if shape.limit else [])]
    return sql, texts_as_bytes


def stored_events(lines: Iterable[Any]) -> list[StoredEvent]:
    """The events of lines of `events`."""
    return [
        StoredEvent(id, kind, payload, chain.decode_headers(headers), occurred_at_ms)
        for id, kind, payload, headers, occurred_at_ms in lines
    ]


def stored_rows(lines: Iterable[Any]) -> list[Row]:
    """The rows of lines of `ledger_rows`."""
    return [
        Row(
            key,
            version,
            created,
            owner.decode(),
            expires,
            live,
            state,
            None if alias is None else alias.decode(),
            None if group is None else group.decode(),
            replaced,
        )
        for key, version, created, owner, expires, live, state, alias, group, replaced in lines
    ]
