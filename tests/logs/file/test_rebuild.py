"""Rebuilding while others write and read."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from sessionledger import LogUnavailable, SessionStore
from sessionledger.logs.base import Fold, Progress, StoredEvent
from sessionledger.logs.embedded.row_table import RowTable
from sessionledger.logs.file.index import TopicIndex
from sessionledger.testing.fixtures import PATIENCE, concurrently


def test_a_read_sees_what_was_acknowledged_while_the_rows_were_rebuilt(tmp_path: Path) -> None:
    with SessionStore.open(f"file://{tmp_path / 'ledger'}") as store:
        token = store.create("alice").token
        ended, swapped = threading.Event(), threading.Event()
        folded, looked = threading.Event(), threading.Event()
        rebuilt, is_current = TopicIndex.rebuilt, TopicIndex.is_current

        def held(index: TopicIndex, fold: Fold, progress: Progress | None) -> tuple[RowTable, int]:
            answer = rebuilt(index, fold, progress)
            folded.set()
            assert ended.wait(PATIENCE)
            return answer

        def slow(index: TopicIndex) -> bool:
            # Between finding the file unchanged and reading the row this thread is not scheduled.
            answer = is_current(index)
            if threading.current_thread() is reader:
                looked.set()
                assert swapped.wait(PATIENCE)
            return answer

        found: list[Any] = []
        reader = threading.Thread(target=lambda: found.append(store.get(token)))

        def end() -> None:
            assert folded.wait(PATIENCE)
            store.expire(token)
            reader.start()
            assert looked.wait(PATIENCE)
            ended.set()

        def rebuild() -> None:
            store.rebuild()
            swapped.set()

        with (
            patch.object(TopicIndex, "rebuilt", held),
            patch.object(TopicIndex, "is_current", slow),
        ):
            concurrently(rebuild, end)
            reader.join(PATIENCE)
        assert found == [None]


@pytest.mark.parametrize("call", ["open", "close"])
def test_a_rebuild_raises_no_error_of_the_system(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionStore.open(f"file://{tmp_path / 'ledger'}") as store:
        store.create("alice")
        true, pages = getattr(os, call), TopicIndex._pages

        def fails(*given: Any) -> Any:
            monkeypatch.setattr(os, call, true)
            if call == "close":
                true(*given)
            raise OSError(errno.EIO, "the disk fails")

        def failing(*given: Any) -> Iterator[list[StoredEvent]]:
            monkeypatch.setattr(os, call, fails)
            return pages(*given)

        monkeypatch.setattr(TopicIndex, "_pages", failing)
        if call == "open":
            with pytest.raises(LogUnavailable, match="the disk fails"):
                store.rebuild()
        else:
            assert store.rebuild() == 1
