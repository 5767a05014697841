"""A time limit by a signal, whose handler raises `TimeoutError` in the middle of a flush."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sessionledger import Appended, Change, Unit
from sessionledger.logs.file import FileLog
from sessionledger.testing.fixtures import event


def test_a_time_limit_amid_a_flush_does_not_end_the_writing(tmp_path: Path) -> None:
    limits = [TimeoutError("took too long")]

    def flush(file: int) -> None:
        if limits:
            raise limits.pop()
        os.fdatasync(file)

    log = FileLog(tmp_path / "ledger", sync=flush)
    with pytest.raises(TimeoutError, match="took too long"):
        log.append("t", [Unit([Change(event())])])
    assert log.append("t", [Unit([Change(event())])]) == [Appended((1,))]
    assert len(log.read("t")) == 1
    log.close()
