"""What the processes of the cache's race do.

`python -m tests.logs.sqlite.racing ROLE FOLDER NUMBER`, and the number is that of the process.

They share a board in memory: for each session the number up to which its changes were acknowledged,
and the highest that a read has answered. A read that began when these stood there must answer at
least as much. The end of a session is a change too, the last.
"""

from __future__ import annotations

import json
import mmap
import random
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import apsw

from sessionledger import SessionStore
from sessionledger.core.token import digest, handle_of
from sessionledger.logs.sqlite.row_cache.cache import RowCache
from sessionledger.logs.sqlite.row_cache.generations import TopicCache
from sessionledger.store.engine import SESSIONS_TOPIC

SESSIONS = 24
OVER = 1 << 40
"""The number of a session's end."""

READING_THREADS = 2
PROCESSES = 16

_never = threading.Event()


class Board:
    """Numbers that processes share, each eight bytes that are written at one stroke."""

    def __init__(self, path: Path) -> None:
        size = 8 * (1 + 2 * SESSIONS + PROCESSES * (1 + READING_THREADS))
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            numbers = memoryview(mmap.mmap(file.fileno(), size)).cast("Q")
        ends = [0, 1, 1 + SESSIONS, 1 + 2 * SESSIONS, 1 + 2 * SESSIONS + PROCESSES, len(numbers)]
        self._over, self.acknowledged, self.answered, self.done, self.reads = (
            numbers[start:end] for start, end in pairwise(ends)
        )

    @property
    def over(self) -> bool:
        """Whether the race is over."""
        return self._over[0] == 1

    def end(self) -> None:
        self._over[0] = 1

    def floor(self, session: int) -> int:
        """What a read of the session that begins now has to answer, at least."""
        return max(self.acknowledged[session], self.answered[session])

    def let_others_read(self) -> None:
        """Nobody writes during every other thousand reads, so that the cache gets its turn."""
        while sum(self.reads) // 1000 % 2 and not self.over:
            _never.wait(0.0001)

    def let_others_fold(self) -> None:
        """Let the readers come near to what was appended without rows."""
        while sum(self.acknowledged[12:18]) > sum(self.answered[12:18]) + 100 and not self.over:
            _never.wait(0.0001)


def database(folder: Path) -> Path:
    return folder / "ledger"


def tokens_of(folder: Path) -> list[str]:
    found: list[str] = json.loads((folder / "tokens").read_text())
    return found


def prepare(folder: Path) -> Board:
    """A ledger with live sessions, each at number 0, and the board."""
    with SessionStore.open(f"sqlite:///{database(folder)}") as store:
        issued = [store.create("alice", attributes={"n": 0}) for _ in range(SESSIONS)]
    (folder / "tokens").write_text(json.dumps([session.token for session in issued]))
    return Board(folder / "board")


def open_store(folder: Path) -> SessionStore:
    return SessionStore.open(f"sqlite:///{database(folder)}", durability="normal")


def revise(folder: Path, board: Board, me: int, mine: range) -> None:
    """Change sessions that nobody else changes, one number after the other."""
    tokens = tokens_of(folder)
    with open_store(folder) as store:
        while not board.over:
            board.let_others_read()
            session = random.choice(mine)
            number = board.acknowledged[session] + 1
            assert store.patch(tokens[session], {"n": number}) is not None
            board.acknowledged[session] = number
            board.done[me] += 1


def revise_first(folder: Path, board: Board, me: int) -> None:
    revise(folder, board, me, range(6))


def revise_second(folder: Path, board: Board, me: int) -> None:
    revise(folder, board, me, range(6, 12))


def append_bare(folder: Path, board: Board, me: int) -> None:
    """The same as the reference does it: events without rows, in plain SQL. It takes no turns, so
    it waits now and then until what it wrote was read; otherwise it is hardly anybody else's."""
    tokens = tokens_of(folder)
    connection = apsw.Connection(str(database(folder)))
    connection.set_busy_timeout(30_000)
    while not board.over:
        board.let_others_read()
        board.let_others_fold()
        session = random.randrange(12, 18)
        number = board.acknowledged[session] + 1
        touch = {
            "attributes": {"n": number},
            "expires_at": None,
            "last_seen_at": "2026-01-01T00:00:00Z",
            "token_handle": handle_of(digest(tokens[session])),
        }
        with connection:
            append_event(connection, json.dumps(touch))
        board.acknowledged[session] = number
        board.done[me] += 1
    connection.close()


def append_event(connection: apsw.Connection, payload: str) -> None:
    connection.execute(
        "UPDATE topic_heads SET last_id = last_id + 1 WHERE topic = ?", (SESSIONS_TOPIC,)
    )
    connection.execute(
        "INSERT INTO events SELECT topic, last_id, 'session_touched', ?, '{}', 1"
        " FROM topic_heads WHERE topic = ?",
        (payload.encode(), SESSIONS_TOPIC),
    )


def revoke(folder: Path, board: Board, me: int) -> None:
    """End sessions, one now and then, that others only read."""
    tokens = tokens_of(folder)
    for session in range(18, SESSIONS):
        # So many changes of others happen first.
        others = sum(board.acknowledged[:18]) + 20
        while sum(board.acknowledged[:18]) < others and not board.over:
            _never.wait(0.0001)
        with open_store(folder) as store:
            assert store.expire(tokens[session]) is not None
        board.acknowledged[session] = OVER
        board.done[me] += 1


def reset_log(folder: Path, board: Board, me: int) -> None:
    """Have the write-ahead log copied back, begun anew and cut short, over and over."""
    connection = apsw.Connection(str(database(folder)))
    connection.set_busy_timeout(100)
    modes = (
        apsw.SQLITE_CHECKPOINT_PASSIVE,
        apsw.SQLITE_CHECKPOINT_FULL,
        apsw.SQLITE_CHECKPOINT_RESTART,
        apsw.SQLITE_CHECKPOINT_TRUNCATE,
    )
    while not board.over:
        board.let_others_read()
        try:
            connection.wal_checkpoint(mode=random.choice(modes))
            board.done[me] += 1
        except apsw.BusyError:
            continue
    connection.close()


def rebuild(folder: Path, board: Board, me: int) -> None:
    """Drop all rows and fold them anew, over and over."""
    with open_store(folder) as store:
        while not board.over:
            board.let_others_read()
            store.rebuild()
            board.done[me] += 1


def read(folder: Path, board: Board, me: int) -> None:
    """Read in several threads, and hold every answer against the board. What counts as done are
    the reads that the cache answered alone."""
    asked = _count_asking()
    sys.setswitchinterval(1e-4)
    errors: list[BaseException] = []
    with open_store(folder) as store:

        def run(slot: int) -> None:
            try:
                _read_until_over(store, tokens_of(folder), board, me, slot, asked)
            except BaseException as error:
                errors.append(error)
                board.end()

        slots = range(me * READING_THREADS, (me + 1) * READING_THREADS)
        threads = [threading.Thread(target=run, args=(slot,)) for slot in slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def read_without_dropping(folder: Path, board: Board, me: int) -> None:
    """The same with a cache that is wrong, to see that the race finds it out."""

    def drop_nothing(self: TopicCache, since: int | None, superseded: str | None) -> None:
        pass

    TopicCache._drop_superseded = drop_nothing  # type: ignore[method-assign]
    read(folder, board, me)


def _count_asking() -> list[None]:
    """A list that gets longer with every read that the cache alone did not answer."""
    asked: list[None] = []
    original = RowCache._refreshed

    def counting(*arguments: object) -> object:
        asked.append(None)
        return original(*arguments)  # type: ignore[arg-type]

    RowCache._refreshed = counting  # type: ignore[method-assign, assignment]
    return asked


def _read_until_over(
    store: SessionStore, tokens: list[str], board: Board, me: int, slot: int, asked: list[None]
) -> None:
    while not board.over:
        session, before = random.randrange(SESSIONS), len(asked)
        # Several times, so that something is read that nobody changed meanwhile.
        for _ in range(random.randint(1, 4)):
            floor = board.floor(session)
            found = store.get(tokens[session])
            number = OVER if found is None else found.attributes["n"]
            assert number >= floor, f"{number} was answered, and {floor} stood on the board"
            if number > board.answered[session]:
                board.answered[session] = number
            board.reads[slot] += 1
        board.done[me] += len(asked) == before


ROLES: dict[str, Callable[[Path, Board, int], None]] = {
    role.__name__: role
    for role in (
        revise_first,
        revise_second,
        append_bare,
        revoke,
        reset_log,
        rebuild,
        read,
        read_without_dropping,
    )
}


def main() -> None:
    role, folder, me = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    random.seed(me)
    board = Board(folder / "board")
    try:
        ROLES[role](folder, board, me)
    except BaseException:
        board.end()
        raise


if __name__ == "__main__":
    main()
