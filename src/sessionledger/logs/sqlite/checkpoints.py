"""When the pages of the write-ahead log are copied back to the database.

SQLite does so in a commit, which then takes tens of milliseconds. All processes would wait for it,
because the commit has their lock file. So a process copies after it has let the lock file go.
Where others append meanwhile, the log can't begin again. Once it is long, a commit copies the rest.
"""

from __future__ import annotations

from contextlib import suppress

import apsw

STEP = 250
"""Pages: so many more than at the last time, and they are copied back."""
LONGEST = 4000
"""Pages, 16 MiB: from then on every commit copies, until the log begins again."""


class Checkpoints:
    """The checkpoints of a connection that writes."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._pages = 0
        self._copied = 0
        connection.set_wal_hook(self._committed)

    def _committed(self, connection: apsw.Connection, _: str, pages: int) -> int:
        self._pages = pages
        if pages >= LONGEST:
            _copy(connection)
        return apsw.SQLITE_OK

    def run(self, connection: apsw.Connection) -> None:
        """Copy what was committed, if that is much by now."""
        if self._pages < self._copied:
            self._copied = 0
        if self._pages >= self._copied + STEP:
            self._copied = self._pages
            _copy(connection)


def _copy(connection: apsw.Connection) -> None:
    # Pages that are not copied stay in the log, where they are found. Another process may be at it.
    with suppress(apsw.Error):
        connection.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_PASSIVE)
