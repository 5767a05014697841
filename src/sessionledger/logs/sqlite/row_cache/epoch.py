"""Epochs, which tell the caches of all processes that rows were rewritten without an event.

An epoch is a random number, so none comes again, whatever was lost and made again. Triggers of the
database set it, whichever program rewrites rows: a rebuild, a compaction, or another's.
"""

from __future__ import annotations

import re

NEW_EPOCHS = "UPDATE ledger_topics SET epoch = random()"

TRIGGERS = (
    f"""CREATE TRIGGER IF NOT EXISTS ledger_rows_removed AFTER DELETE ON ledger_rows BEGIN
        {NEW_EPOCHS} WHERE id = OLD.topic;
    END""",
    f"""CREATE TRIGGER IF NOT EXISTS ledger_rows_rewritten AFTER UPDATE ON ledger_rows
        WHEN NEW.version <= OLD.version BEGIN
        {NEW_EPOCHS} WHERE id IN (OLD.topic, NEW.topic);
    END""",
)

NAMES = frozenset(re.findall(r"IF NOT EXISTS (ledger_\w+)", "".join(TRIGGERS)))
