"""Topics of another log, staged in a folder within the ledger's, and moved in at once.

1. The staged ledger is one of files like any other, in a folder that no ledger looks into.
2. Its cursors, checkpoints and durable offsets take their places, and its topics come last. That is
   the moment. Before it there are no events, and after it there are all.
3. A process that is killed before it leaves a folder with no topics, or with an empty one. Staging
   them again, or moving the rest in again, completes it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from sessionledger.errors import LogUnavailable
from sessionledger.logs.concurrency.lock_file import LockFile
from sessionledger.logs.concurrency.waiting import TIMEOUT_SECONDS
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.errors import (
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
        return (self._root / STAGED / TOPICS).is_dir()

    def open(self) -> FileLog:
        with translated_errors(self._root):
            if not (self._root / STAGED).is_dir():
                check_location(self._root)
            self._refuse()
            for folder in (self._root, self._root / STAGED):
                make_folder(folder, owner_of(self._root))
            return FileLog(self._root / STAGED)

    def put(self) -> None:
        with translated_errors(self._root):
            self._refuse()
            lock = LockFile(self._root / LOCK, self._root)
            lock.run(lambda: _move_in(self._root), monotonic() + TIMEOUT_SECONDS)
            lock.close()

    def _refuse(self) -> None:
        if (self._root / TOPICS).is_dir() and (found := Disk(self._root).topics()):
            raise LogUnavailable(f"{found[0]!r} has events here: name a ledger that has none")


def _move_in(root: Path) -> None:
    """Make the staged ledger that of its folder, which has no events. The caller has the lock."""
    staged = root / STAGED
    for name in _PARTS:
        if (staged / name).is_dir():
            if (root / name).is_dir():
                for left in (root / name).iterdir():
                    left.unlink()
            flush(root)
            (staged / name).rename(root / name)
    for folder in (root, root.parent):
        flush(folder)
    shutil.rmtree(staged, ignore_errors=True)
