"""The checker of `make torture` finds what was harmed, and nothing in a ledger that was not."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from sessionledger import Session, SessionStore
from sessionledger.logs.sqlite.queries import FOLD_ALL_AGAIN
from torture.checker import faults
from torture.journal import Entry, Journal
from torture.ledger import POLICY, observe
from torture.writer import USUAL, Login, Writer


class Tried:
    """A ledger that a writer filled, and its journal."""

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        self.path = path
        self.journal = Journal()
        with SessionStore.open(url, policy=POLICY) as store:
            Writer(store, self.journal.recorder(1), random.Random(7)).work(USUAL, 150)

    def faults(self) -> list[str]:
        with SessionStore.open(self.url, policy=POLICY) as store:
            reader = Writer(store, self.journal.recorder(2), random.Random(7))
            for handle, token in self.journal.tokens().items():
                reader.read(Login(token, handle, ""))
            return faults(self.journal.entries, observe(store))


@pytest.fixture
def in_sqlite(tmp_path: Path) -> Tried:
    return Tried(f"sqlite:///{tmp_path}/s.db", tmp_path / "s.db")


@pytest.fixture
def in_files(tmp_path: Path) -> Tried:
    topic = "ledger/topics/orchestrator.sessions.jsonl"
    return Tried(f"file:{tmp_path}/ledger", tmp_path / topic)


def execute(path: Path, statements: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statements).fetchall()
    connection.close()


@pytest.mark.parametrize("name", ["in_sqlite", "in_files"])
def test_a_sound_ledger_has_no_fault(name: str, request: pytest.FixtureRequest) -> None:
    tried: Tried = request.getfixturevalue(name)
    assert tried.faults() == []


def ended(tried: Tried) -> Session:
    """A session that its bearer ended."""
    over = [call.handle for call in tried.journal.entries if call.call == "expire"]
    with SessionStore.open(tried.url, policy=POLICY) as store:
        sessions = {str(one.handle): one for one in store.sessions(state="all", superseded=True)}
    return next(sessions[handle] for handle in over if sessions[handle].cause == "signed_out")


def test_a_removed_revocation_is_found(in_sqlite: Tried) -> None:
    removed = ended(in_sqlite).version
    execute(in_sqlite.path, f"DELETE FROM events WHERE event_id = {removed}; {FOLD_ALL_AGAIN}")
    assert [fault for fault in in_sqlite.faults() if "live after its end" in fault]


def test_a_revived_row_is_found(in_sqlite: Tried) -> None:
    execute(
        in_sqlite.path,
        "UPDATE ledger_rows SET live = 1, expires = 1 << 60,"
        " state = json_remove(state, '$.ended_at', '$.cause')"
        f" WHERE key = x'{ended(in_sqlite).handle.rpartition(':')[2]}'",
    )
    assert [fault for fault in in_sqlite.faults() if "live after its end" in fault]


def test_a_row_that_is_not_what_its_events_are_is_found(in_sqlite: Tried) -> None:
    execute(in_sqlite.path, "UPDATE ledger_rows SET owner = 'mallory'")
    assert [fault for fault in in_sqlite.faults() if "row_differs" in fault]


def test_lines_that_were_cut_off_are_found(in_files: Tried) -> None:
    lines = in_files.path.read_bytes().splitlines(keepends=True)
    in_files.path.write_bytes(b"".join(lines[:-5]))
    (in_files.path.parent.parent / "durable" / "orchestrator.sessions").unlink()
    assert [fault for fault in in_files.faults() if "acknowledged and is gone" in fault]


def test_a_line_that_was_taken_out_is_found(in_files: Tried) -> None:
    lines = in_files.path.read_bytes().splitlines(keepends=True)
    in_files.path.write_bytes(b"".join(lines[:10] + lines[11:]))
    (in_files.path.parent.parent / "durable" / "orchestrator.sessions").unlink()
    assert [fault for fault in in_files.faults() if fault.startswith("verify")]


# -- journals of ledgers that answer wrongly


def journal(*entries: tuple[int, str, str, str]) -> list[Entry]:
    """Writer, call, handle and answer of each line; a call has the number of its writer."""
    return [
        Entry(writer, writer, call, answer, handle=handle, principal="alice")
        for writer, call, handle, answer in entries
    ]


def whole(writer: int, call: str, answer: str) -> list[tuple[int, str, str, str]]:
    return [(writer, call, "h", ""), (writer, call, "h", answer)]


CREATED = whole(1, "create", "session")

WRONG: dict[str, tuple[list[tuple[int, str, str, str]], str]] = {
    "revived": (
        [*CREATED, *whole(2, "get", "nothing"), *whole(3, "get", "session")],
        "which had been seen ended",
    ),
    "not ended": (
        [*CREATED, *whole(2, "expire", "done"), *whole(3, "get", "session")],
        "live after its end was acknowledged",
    ),
    "lost": ([*CREATED, *whole(2, "get", "nothing")], "lost"),
    "two winners": ([*CREATED, *whole(2, "create", "session")], "created twice"),
    "from nowhere": (whole(2, "get", "session"), "which nobody began"),
    "an error": (whole(2, "get", "LogUnavailable"), "without a reason"),
    "an error of Python": (whole(2, "get", "raw UnicodeDecodeError"), "no error of the package"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_found(name: str) -> None:
    entries, expected = WRONG[name]
    assert [fault for fault in faults(journal(*entries), None) if expected in fault]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda e: setattr(e, "version", 3), "read version 3 of  after 7"),
        (lambda e: setattr(e, "values", {"w2": 4}), "read w2=4"),
        (lambda e: setattr(e, "values", {"w2": 6}), "read w2=6"),
    ],
)
def test_a_stale_or_invented_value_is_found(change: Callable[[Entry], None], expected: str) -> None:
    entries = journal(*CREATED, *whole(2, "patch", "session"), *whole(3, "get", "session"))
    for entry in entries[2:]:
        entry.value, entry.version, entry.values = 5, 7, {"w2": 5}
    entries[-2].value = entries[-1].value = 0
    assert faults(entries, None) == []
    change(entries[-1])
    assert [fault for fault in faults(entries, None) if expected in fault]


def test_an_end_that_was_not_answered_may_have_happened_or_not() -> None:
    ended = (2, "expire", "h", "")
    for answer in ("session", "nothing"):
        assert faults(journal(*CREATED, ended, *whole(3, "get", answer)), None) == []
