"""The statements that are the same for every database. `?` stands for a value.

`main` is SQLite's name for the database itself; elsewhere it stands for the schema of the ledger.
"""

from __future__ import annotations

HEAD = "SELECT last_id FROM main.topic_heads WHERE topic = ?"
TOPICS = "SELECT topic FROM main.topic_heads WHERE last_id > 0 ORDER BY topic"

COUNT_EVENTS = "SELECT count(*) FROM main.events WHERE topic = ?"
# With the columns of an event, as the database reads them.
EVENTS_AFTER = """SELECT {} FROM main.events
    WHERE topic = ? AND event_id > ? ORDER BY event_id LIMIT ?"""
GAP = """SELECT {} FROM main.events
    WHERE topic = ? AND event_id > ? AND event_id <= ? ORDER BY event_id LIMIT ?"""

ROW_COLUMNS = "key, version, created, owner, expires, live, state, alias, group_name, replaced"
# By the number of their topic.
DROP_ROWS = "DELETE FROM main.ledger_rows WHERE topic = ?"
DROP_LINKS = "DELETE FROM main.ledger_links WHERE topic = ?"

# The base of a topic, by its number. Entries of a generation above the topic's cut do not count
# yet. Of a key the newest entry counts; an empty one says that the key was forgotten.
# Both are given: the generation that is asked about, twice.
NO_ENTRY = b""
_IN_FORCE = """FROM main.ledger_base AS one WHERE topic = ? AND {} AND generation <= ?
    AND length(entry) > 0 AND NOT EXISTS (SELECT 1 FROM main.ledger_base AS newer
        WHERE newer.topic = one.topic AND newer.key = one.key
        AND newer.generation > one.generation AND newer.generation <= ?)"""
BASE_OF_KEYS = "SELECT entry " + _IN_FORCE.format("key IN ({})")
BASE_AFTER = f"SELECT entry {_IN_FORCE.format('key > ?')} ORDER BY key LIMIT ?"
PUT_BASE = """INSERT INTO main.ledger_base (topic, key, generation, entry) VALUES (?, ?, ?, ?)
    ON CONFLICT (topic, key, generation) DO UPDATE SET entry = excluded.entry"""
REMOVE_BASE = "DELETE FROM main.ledger_base WHERE topic = ?"
UNSEALED_KEYS = """SELECT key FROM main.ledger_base
    WHERE topic = ? AND generation > ? AND key > ? ORDER BY key LIMIT ?"""
REMOVE_UNSEALED = """DELETE FROM main.ledger_base
    WHERE topic = ? AND generation > ? AND key > ? AND key <= ?"""
REMOVE_SUPERSEDED = """DELETE FROM main.ledger_base AS one
    WHERE topic = ? AND key > ? AND key <= ? AND generation < ?
    AND EXISTS (SELECT 1 FROM main.ledger_base AS newer WHERE newer.topic = one.topic
        AND newer.key = one.key AND newer.generation > one.generation AND newer.generation <= ?)"""
FORGOTTEN_KEYS = """SELECT key FROM main.ledger_base
    WHERE topic = ? AND generation <= ? AND length(entry) = 0 AND key > ?
    ORDER BY key LIMIT ?"""
# With a `?` for each key.
FORGET_ROWS = "DELETE FROM main.ledger_rows WHERE topic = ? AND key IN ({})"
FORGET_ENTRIES = "DELETE FROM main.ledger_base WHERE topic = ? AND key IN ({}) AND generation <= ?"
# Both begin after an event, since PostgreSQL's index keeps what was deleted before it for a while.
FIRST_EVENT = "SELECT min(event_id) FROM main.events WHERE topic = ? AND event_id > ?"
REMOVE_EVENTS = "DELETE FROM main.events WHERE topic = ? AND event_id > ? AND event_id <= ?"

REPLACE_EVENT = """UPDATE main.events SET kind = ?, payload = ?, headers = ?, occurred_at_ms = ?
    WHERE topic = ? AND event_id = ?"""
# Of all generations, also of those that do not count yet.
ENTRIES_OF_KEY = "SELECT generation, entry FROM main.ledger_base WHERE topic = ? AND key = ?"

# Whoever maintains the ledger stands here, in case that its lease was lost unnoticed.
JOB = "SELECT value FROM main.ledger_meta WHERE name = 'maintenance'"
SET_JOB = """INSERT INTO main.ledger_meta (name, value) VALUES ('maintenance', ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
END_JOB = "DELETE FROM main.ledger_meta WHERE name = 'maintenance' AND value = ?"

CURSORS = "SELECT consumer_id, cursor FROM main.consumers WHERE topic = ?"
FORGET_CURSOR = "DELETE FROM main.consumers WHERE topic = ? AND consumer_id = ?"
CURSOR = "SELECT cursor FROM main.consumers WHERE topic = ? AND consumer_id = ?"
ACK = """INSERT INTO main.consumers (topic, consumer_id, cursor, updated_at_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (topic, consumer_id) DO UPDATE
    SET cursor = excluded.cursor, updated_at_ms = excluded.updated_at_ms
    WHERE excluded.cursor > consumers.cursor"""
