"""What a log declares about itself, so that no test asks which log it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sessionledger.logs.base import Log, LogEvent


@dataclass(frozen=True, kw_only=True)
class Harness:
    """How a log is opened, and what it can do. Tests of anything else are shown as skipped.

    open: opens the log at a path.
    persists: what it holds is there when it is opened again at the same path.
    follows: while one process writes, others may open the same path and read.
    shared: several logs, of any number of processes, may be open at one path and write.
    forks: a forked child may go on with the log; otherwise it gets `LogUnavailable`.
    append_bare: appends events to a topic at a path as a foreign writer does, in another process:
        no rows, no chain. The log is closed meanwhile unless it is `shared`.
    empty: removes every event of a topic at a path, as a compaction may. The log is closed.
    compacts: its topics can be compacted. copies: other logs are copied to it.
    documents: it is a `DocumentLog`.
    rounds: how often what is tried at random is tried. patience: seconds after which what did
        not happen counts as never happening.

    At a path nothing exists yet, and it is in a folder of its own. The same path means the same
    ledger. A log that is not kept in files may take it as a name. With `follows` or `shared`, child
    processes open the log too. They import `open` by its name: so it is a function of a module.
    """

    open: Callable[[Path], Log]
    persists: bool = False
    follows: bool = False
    shared: bool = False
    forks: bool = False
    append_bare: Callable[[Path, str, Sequence[LogEvent]], None] | None = None
    empty: Callable[[Path, str], None] | None = None
    compacts: bool = False
    copies: bool = False
    documents: bool = False
    rounds: int = 1
    patience: float = 60.0
