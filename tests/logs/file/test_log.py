"""What a process does before it takes the writer's lock, and others wait for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.logs.file.log import FileLog
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.fixtures import until
from tests.store.test_unknown_outcomes import held


@pytest.mark.middle
@pytest.mark.parametrize("is_known", [False, True])
def test_a_file_is_read_before_the_lock_is_taken(tmp_path: Path, is_known: bool) -> None:
    """However long that takes, nobody waits: neither at its first append nor after many others."""
    url = f"file://{tmp_path}/ledger"
    with SessionStore.open(url) as others, closing(FileLog(tmp_path / "ledger")) as log:
        store = SessionStore(log)
        others.create("alice")
        if is_known:
            store.create("bob")
        others.create("carol")
        newest = others.head().id

        def read() -> int:
            index = log._known.get(SESSIONS_TOPIC)
            return 0 if index is None else index.head.id

        with held(url) as release, ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(store.create, "dave")
            try:
                until(lambda: read() == newest)
                assert not waiting.done()
            finally:
                release()
            assert waiting.result().version == newest + 1
