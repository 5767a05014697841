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

CURSOR = "SELECT cursor FROM main.consumers WHERE topic = ? AND consumer_id = ?"
ACK = """INSERT INTO main.consumers (topic, consumer_id, cursor, updated_at_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (topic, consumer_id) DO UPDATE
    SET cursor = excluded.cursor, updated_at_ms = excluded.updated_at_ms
    WHERE excluded.cursor > consumers.cursor"""
