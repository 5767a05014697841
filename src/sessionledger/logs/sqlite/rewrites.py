"""What tells the caches of all processes that rows were rewritten without an event: an epoch.

The database keeps it itself, whoever rewrites: a rebuild, a compaction, an erasure, a stranger.
"""

from __future__ import annotations

import re

NEW_EPOCH = """INSERT INTO ledger_meta (name, value) VALUES ('epoch', 1)
    ON CONFLICT (name) DO UPDATE SET value = value + 1"""

TRIGGERS = (
    f"""CREATE TRIGGER IF NOT EXISTS ledger_rows_removed AFTER DELETE ON ledger_rows BEGIN
        {NEW_EPOCH};
    END""",
    f"""CREATE TRIGGER IF NOT EXISTS ledger_rows_rewritten AFTER UPDATE ON ledger_rows
        WHEN NEW.version <= OLD.version BEGIN
        {NEW_EPOCH};
    END""",
)

NAMES = frozenset(re.findall(r"IF NOT EXISTS (ledger_\w+)", "".join(TRIGGERS)))
