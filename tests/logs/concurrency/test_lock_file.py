"""A lock file is closed once, whatever the system reports."""

from __future__ import annotations

import os
from pathlib import Path

from sessionledger.logs.concurrency.lock_file import LockFile


def test_a_lock_whose_closing_fails_is_closed(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "lock", tmp_path)
    os.close(lock._descriptor())
    lock.close()
    lock.close()
