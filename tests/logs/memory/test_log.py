"""The log in memory, interrupted at every line of a write."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from sessionledger import SessionStore
from sessionledger.logs.embedded import row_table
from sessionledger.logs.memory import log


class Stop(BaseException):
    """Interrupts like KeyboardInterrupt, and is nobody else's."""


class Interrupt:
    """Raises at the n-th line that the modules run."""

    def __init__(self, at: int) -> None:
        self.left = at
        self._files = {log.__file__, row_table.__file__}

    def __call__(self, frame: FrameType, what: str, _: Any) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        if what == "line":
            self.left -= 1
            if self.left == 0:
                raise Stop
        return self


def interrupted(store: SessionStore, at: int) -> bool:
    """Whether a create was interrupted at that line, before it was done."""
    before = sys.gettrace()
    sys.settrace(Interrupt(at))
    try:
        store.create("bob")
    except Stop:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_at_any_line_leaves_events_and_rows_that_agree() -> None:
    line = 1
    while True:
        with SessionStore.open("memory:") as store:
            store.create("alice")
            if not interrupted(store, line):
                break
            carol = store.create("carol")
            assert [event.id for event in store.events()] == list(range(1, carol.version + 1))
            assert [change.principal for change in store.history(handle=carol.handle)] == ["carol"]
            assert store.verify().ok
            told = sorted(session.handle for session in store.sessions())
            assert store.get(carol.token) is not None
            store.rebuild()
            assert sorted(session.handle for session in store.sessions()) == told
        line += 1
    assert line > 20
