"""Rebuilding while others write and read."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sessionledger import SessionStore
from sessionledger.logs.base import Fold, Progress
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
