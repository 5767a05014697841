"""What the processes of the cache's race do: `python -m tests.logs.sqlite.racing ROLE FOLDER SEED`.

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
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from sessionledger import SessionStore
from sessionledger.core.token import digest, handle_of
from sessionledger.logs.sqlite.cache import Cache
from sessionledger.logs.sqlite.caches import Caches
from sessionledger.store.engine import SESSIONS_TOPIC

SESSIONS = 24
OVER = 1 << 40
"""The number of a session's end."""

READING_THREADS = 2


class Board:
    """Numbers that processes share, each eight bytes that are written at one stroke."""

    def __init__(self, path: Path) -> None:
        size = 8 * (1 + 2 * SESSIONS)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            numbers = memoryview(mmap.mmap(file.fileno(), size)).cast("Q")
        self._over, self.acknowledged = numbers[:1], numbers[1 : 1 + SESSIONS]
        self.answered = numbers[1 + SESSIONS :]

    @property
    def over(self) -> bool:
        """Whether the race is over."""
        return self._over[0] == 1

    def end(self) -> None:
        self._over[0] = 1

    def floor(self, session: int) -> int:
        """What a read of the session that begins now has to answer, at least."""
        return max(self.acknowledged[session], self.answered[session])


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


def revise(folder: Path, board: Board, mine: range) -> int:
    """Change sessions that nobody else changes, one number after the other."""
    tokens, count = tokens_of(folder), 0
    with open_store(folder) as store:
        while not board.over:
            session = random.choice(mine)
            number = board.acknowledged[session] + 1
            assert store.patch(tokens[session], {"n": number}) is not None
            board.acknowledged[session] = number
            count += 1
    return count


def revise_first(folder: Path, board: Board) -> int:
    return revise(folder, board, range(6))


def revise_second(folder: Path, board: Board) -> int:
    return revise(folder, board, range(6, 12))


def append_bare(folder: Path, board: Board) -> int:
    """The same as the reference does it: events without rows, in plain SQL."""
    tokens, count = tokens_of(folder), 0
    connection = apsw.Connection(str(database(folder)))
    connection.set_busy_timeout(30_000)
    while not board.over:
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
        count += 1
    connection.close()
    return count


def append_event(connection: apsw.Connection, payload: str) -> None:
    connection.execute(
        "UPDATE topic_heads SET last_id = last_id + 1 WHERE topic = ?", (SESSIONS_TOPIC,)
    )
    connection.execute(
        "INSERT INTO events SELECT topic, last_id, 'session_touched', ?, '{}', 1"
        " FROM topic_heads WHERE topic = ?",
        (payload.encode(), SESSIONS_TOPIC),
    )


def revoke(folder: Path, board: Board) -> int:
    """End sessions, one now and then, that others only read."""
    tokens, count = tokens_of(folder), 0
    for session in range(18, SESSIONS):
        # So many changes of others happen first.
        others = sum(board.acknowledged[:18]) + 50
        while sum(board.acknowledged[:18]) < others and not board.over:
            time.monotonic()
        with open_store(folder) as store:
            assert store.expire(tokens[session]) is not None
        board.acknowledged[session] = OVER
        count += 1
    return count


def reset_log(folder: Path, board: Board) -> int:
    """Have the write-ahead log copied back, begun anew and cut short, over and over."""
    connection, count = apsw.Connection(str(database(folder))), 0
    connection.set_busy_timeout(100)
    modes = (
        apsw.SQLITE_CHECKPOINT_PASSIVE,
        apsw.SQLITE_CHECKPOINT_FULL,
        apsw.SQLITE_CHECKPOINT_RESTART,
        apsw.SQLITE_CHECKPOINT_TRUNCATE,
    )
    while not board.over:
        try:
            connection.wal_checkpoint(mode=random.choice(modes))
            count += 1
        except apsw.BusyError:
            continue
    connection.close()
    return count


def rebuild(folder: Path, board: Board) -> int:
    """Drop all rows and fold them anew, over and over."""
    count = 0
    with open_store(folder) as store:
        while not board.over:
            store.rebuild()
            count += 1
    return count


def read(folder: Path, board: Board) -> int:
    """Read in several threads, and hold every answer against the board; how many reads the cache
    answered alone."""
    asked = _count_asking()
    sys.setswitchinterval(1e-4)
    counts = [0] * READING_THREADS
    errors: list[BaseException] = []
    with open_store(folder) as store:

        def run(number: int) -> None:
            try:
                counts[number] = _read_until_over(store, tokens_of(folder), board)
            except BaseException as error:
                errors.append(error)
                board.end()

        threads = [threading.Thread(target=run, args=(n,)) for n in range(READING_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return sum(counts) - len(asked)


def read_without_dropping(folder: Path, board: Board) -> int:
    """The same with a cache that is wrong, to see that the race finds it out."""
    Cache._drop_versions = lambda self, versions: None  # type: ignore[method-assign]
    return read(folder, board)


def _count_asking() -> list[None]:
    """A list that gets longer with every read that the cache alone did not answer."""
    asked: list[None] = []
    original = Caches.read

    def counting(*arguments: object) -> object:
        asked.append(None)
        return original(*arguments)  # type: ignore[arg-type]

    Caches.read = counting  # type: ignore[method-assign, assignment]
    return asked


def _read_until_over(store: SessionStore, tokens: list[str], board: Board) -> int:
    count = 0
    while not board.over:
        session = random.randrange(SESSIONS)
        # Twice, so that something is read that nobody changed meanwhile.
        for _ in range(random.randint(1, 4)):
            floor = board.floor(session)
            found = store.get(tokens[session])
            number = OVER if found is None else found.attributes["n"]
            assert number >= floor, f"{number} was answered, and {floor} stood on the board"
            if number > board.answered[session]:
                board.answered[session] = number
            count += 1
    return count


ROLES: dict[str, Callable[[Path, Board], int]] = {
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
    role, folder, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    random.seed(seed)
    board = Board(folder / "board")
    try:
        print(ROLES[role](folder, board))
    except BaseException:
        board.end()
        raise


if __name__ == "__main__":
    main()
