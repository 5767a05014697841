"""The events of a key are folded in memory, before its entry of the base is written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionledger import SessionStore
from sessionledger.logs.sql import compactor
from sessionledger.logs.sql.writer import Writer
from sessionledger.testing import Clock
from tests.logs.openers import address


@pytest.mark.parametrize(("most", "entries"), [(1 << 24, 3), (0, 9)], ids=["at once", "by pages"])
def test_a_key_is_written_once_for_as_much_as_memory_may_have(
    most: int, entries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, put_base, clock = list[bytes](), Writer.put_base, Clock()

    def counted(writer: Writer, line: Any, generation: int, rows: Mapping[bytes, Any]) -> None:
        written.extend(rows)
        put_base(writer, line, generation, rows)

    monkeypatch.setattr(Writer, "put_base", counted)
    monkeypatch.setattr(compactor, "PAGE", 3)
    monkeypatch.setattr(compactor, "ENTRIES", 2)
    monkeypatch.setattr(compactor, "STAGED_BYTES", most)
    with SessionStore.open(address("sqlite", tmp_path / "sessions.db"), clock=clock) as store:
        tokens = [store.create("alice", ttl=timedelta(days=900)).token for _ in range(3)]
        for number in range(6):
            store.touch(tokens[number % 3], attributes={"number": number})
        clock.advance(timedelta(days=3))
        assert store.compact(retention=timedelta(days=2)).events == 9
        assert len(written) == entries
        assert [store.get(token).attributes["number"] for token in tokens] == [3, 4, 5]  # type: ignore[union-attr]
        assert store.verify().ok
        assert store.diagnose() == []
