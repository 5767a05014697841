"""The pages of a long history walk its links once."""

from __future__ import annotations

from pathlib import Path

from sessionledger import SessionStore
from sessionledger.logs.sqlite import SQLiteLog, reads


def test_all_pages_of_a_history_walk_it_once_and_a_change_is_seen(tmp_path: Path) -> None:
    walks = 0
    with SessionStore.open(f"sqlite:///{tmp_path}/ledger.db") as store:
        issued = store.create("alice")
        for count in range(29):
            store.patch(issued.token, {"count": count})
        log = store._log
        assert isinstance(log, SQLiteLog)
        known = log._key_histories
        topic = "orchestrator.sessions"
        key = log.rows(topic)[0].key

        def walk() -> list[int]:
            nonlocal walks
            found: list[int] = []
            while page := log.read_key(topic, key, found[-1] if found else 0, 4):
                walks += known._last is not seen[-1]
                seen.append(known._last)
                found += [event.id for event in page]
            return found

        seen: list[reads._History | None] = [None]
        assert walk() == [event.id for event in store.events()]
        assert walks == 1
        store.patch(issued.token, {"count": "changed"})
        assert len(walk()) == 31
        assert walks == 2
