"""A copy that is staged in a folder within the ledger's, and moved in at once.

1. The staged ledger is one of files like any other, in a folder that no ledger looks into.
2. Once it is whole, that folder gets another name. Its cursors, checkpoints and durable offsets
   take their places, and its topics come last. That is the moment. Before it there are no events,
   and after it there are all.
3. If a process is killed in between, the next one takes the parts back and goes on. They belong
   together: a file of events without its checkpoint would be taken for another one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from sessionledger.errors import LogUnavailable
from sessionledger.logs.concurrency.lock_file import LockFile
from sessionledger.logs.concurrency.waiting import TIMEOUT_SECONDS
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.errors import (
    ARRIVING,
    CHECKPOINTS,
    STAGED,
    TOPICS,
    check_location,
    translated_errors,
)
from sessionledger.logs.file.log import FileLog
from sessionledger.logs.file.writer_lock import LOCK
from sessionledger.ownership import flush, make_folder, owner_of, resolved

_PARTS = ("consumers", "durable", CHECKPOINTS, TOPICS)


class StagedFolder:
    """As `Staged`."""

    def __init__(self, root: Path) -> None:
        self._root = resolved(root)
        self.location = f"file://{quote(str(self._root))}"

    def is_there(self) -> bool:
        return any((self._root / name / TOPICS).is_dir() for name in (STAGED, ARRIVING))

    def open(self) -> FileLog:
        with translated_errors(self._root):
            if (self._root / ARRIVING).is_dir():
                self._alone(self._take_back)
            elif not (self._root / STAGED).is_dir():
                check_location(self._root)
            self._refuse()
            for folder in (self._root, self._root / STAGED):
                make_folder(folder, owner_of(self._root))
            return FileLog(self._root / STAGED)

    def put(self) -> None:
        with translated_errors(self._root):
            self._alone(self._move_in)

    def _alone(self, work: Callable[[], None]) -> None:
        """Do something while nobody writes."""
        lock = LockFile(self._root / LOCK, self._root)
        lock.run(work, monotonic() + TIMEOUT_SECONDS)
        lock.close()

    def _refuse(self) -> None:
        if (self._root / TOPICS).is_dir() and (found := Disk(self._root).topics()):
            raise LogUnavailable(f"{found[0]!r} has events here: name a ledger that has none")

    def _move_in(self) -> None:
        root, arriving = self._root, self._root / ARRIVING
        self._refuse()
        for name in _PARTS:  # of a ledger without events
            shutil.rmtree(root / name, ignore_errors=True)
        (root / STAGED).rename(arriving)
        for name in filter(lambda name: (arriving / name).is_dir(), _PARTS):
            flush(root)
            (arriving / name).rename(root / name)
        for folder in (root, root.parent):
            flush(folder)
        shutil.rmtree(arriving, ignore_errors=True)

    def _take_back(self) -> None:
        root, arriving = self._root, self._root / ARRIVING
        if (arriving / TOPICS).is_dir():
            for name in filter(lambda name: (root / name).is_dir(), _PARTS):
                (root / name).rename(arriving / name)
            arriving.rename(root / STAGED)
