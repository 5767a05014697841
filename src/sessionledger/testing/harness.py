"""What a log declares about itself, so that no test asks which log it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from sessionledger.logs.adapters.blocking import BlockingLog
from sessionledger.logs.adapters.threads import for_loops
from sessionledger.logs.base import AsyncLog, Log, LogEvent


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a log can do. Tests of anything else are shown as skipped.

    persists: what it holds is there when it is opened again at the same path.
    follows: while one process writes, others may open the same path and read.
    shared: several logs, of any number of processes, may be open at one path and write.
    forks: a forked child may go on with the log; otherwise it gets `LogUnavailable`.
    loops: in its asynchronous colour, one log serves several event loops.
    append_bare: appends events to a topic at a path as a foreign writer does, in another process:
        no rows, no chain. The log is closed meanwhile unless it is `shared`.
    empty: removes every event of a topic at a path, as a compaction may. The log is closed.
    rounds: how often what is tried at random is tried. patience: seconds after which what did
        not happen counts as never happening.

    At a path nothing exists yet, and it is in a folder of its own. The same path means the same
    ledger. A log that is not kept in files may take it as a name.
    """

    persists: bool = False
    follows: bool = False
    shared: bool = False
    forks: bool = False
    loops: bool = True
    append_bare: Callable[[Path, str, Sequence[LogEvent]], None] | None = None
    empty: Callable[[Path, str], None] | None = None
    rounds: int = 1
    patience: float = 60.0

    @property
    def followed(self) -> bool:
        """Whether another process may read while one writes."""
        return self.follows or self.shared


@dataclass(frozen=True, kw_only=True)
class Harness(Declared):
    """A log in the synchronous colour: `open` opens it at a path.

    With `follows` or `shared` it is opened by child processes too, which import it by its name:
    so it is a function of a module.
    """

    open: Callable[[Path], Log]

    def log(self, path: Path) -> Log:
        """The log at a path, as the tests call it."""
        return self.open(path)

    def both_colours(self, path: Path) -> BlockingLog:
        """The log at a path with its asynchronous colour."""

        async def bridge() -> AsyncLog:
            return for_loops(self.open(path))

        return BlockingLog(bridge)


@dataclass(frozen=True, kw_only=True)
class AsyncHarness(Declared):
    """A log in the asynchronous colour: `open` is a coroutine function that opens it at a path."""

    open: Callable[[Path], Awaitable[AsyncLog]]

    def log(self, path: Path) -> Log:
        """The log at a path, as the tests call it: on a loop of its own."""
        return self.both_colours(path)

    def both_colours(self, path: Path) -> BlockingLog:
        """The log at a path with its asynchronous colour."""

        async def connect() -> AsyncLog:
            return await self.open(path)

        return BlockingLog(connect)


AnyHarness: TypeAlias = Harness | AsyncHarness
