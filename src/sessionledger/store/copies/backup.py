"""A backup: one SQLite file with all topics of a ledger, of whatever kind, that is in use.

1. A draft beside the file is marked, so that nothing but `restore` opens it.
2. The topics are copied into it. Writers go on meanwhile.
3. The chains and the bases of the draft are verified. Then it is flushed and renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from os import urandom
from pathlib import Path

from sessionledger.core.policy import Policy
from sessionledger.errors import CorruptLog, HistoryCut, LogUnavailable, MaintenanceRunning
from sessionledger.logs.adapters.immediate import ImmediateLog, drive
from sessionledger.logs.base import Log, Progress
from sessionledger.logs.compaction.transfer import take
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.logs.sqlite.backup_file import finish, mark
from sessionledger.logs.sqlite.connection import companions, translated_errors
from sessionledger.ownership import flush, resolved
from sessionledger.store.audit.reports import Verification
from sessionledger.store.audit.verification import verify
from sessionledger.store.copies.results import BackedUp
from sessionledger.store.engine import Engine

_ATTEMPTS = 3
_EXISTS = "{} exists: name a file that does not, a backup replaces none"


def write_backup(log: Log, given: str | Path, progress: Progress | None = None) -> BackedUp:
    """Copy all of a ledger to a new file. Raises `LogUnavailable` for a file that exists or can't
    be written, and `MaintenanceRunning` if compactions come between each time."""
    with translated_errors(Path(given)):
        path = resolved(given)
        _refuse(path, Path(log.describe().location))
    with _draft(path) as draft:
        with closing(SQLiteLog(draft, durability="normal")) as target:
            mark(draft)  # a process that is killed leaves it, and sessions in it may have ended
            _copy(log, target, progress)
            topics = tuple(verified(target, topic) for topic in target.topics())
        finish(draft)
        _put(draft, path)
        flush(path.parent)
    return BackedUp(path=path, bytes=path.stat().st_size, topics=topics)


def _refuse(path: Path, ledger: Path) -> None:
    if path.exists():
        raise LogUnavailable(_EXISTS.format(path))
    # SQLite takes a file of such a name for the journal of a crash, and a folder's for a topic.
    if ledger in path.parents or path in companions(ledger):
        raise LogUnavailable(f"{path} would be taken for a part of the ledger: name another file")


def _put(draft: Path, path: Path) -> None:
    """Give a draft its name. Of two backups to one name one is refused."""
    try:
        path.hardlink_to(draft)
    except FileExistsError:
        raise LogUnavailable(_EXISTS.format(path)) from None
    except OSError:  # a file system without links
        path.touch(mode=0o600, exist_ok=False)
        draft.rename(path)


def verified(log: Log, topic: str) -> Verification:
    """What the walk of a topic's chain says, and of its base."""
    return drive(verify(Engine(ImmediateLog(log), topic, Policy()), None, None, None))


def refuse_broken(found: Iterable[Verification], of: str) -> None:
    """Raises `CorruptLog` if a chain of the backup or the ledger breaks."""
    for one in found:
        if one.broken is not None:
            raise CorruptLog(
                f"the chain of {one.head.topic} breaks at event {one.broken.id} of {of}: "
                f"{one.broken.problem}. Take another backup, or accept breaks"
            )


def _copy(log: Log, target: SQLiteLog, progress: Progress | None) -> None:
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done)

    for _ in range(_ATTEMPTS):
        with suppress(HistoryCut):
            for topic in log.topics():
                for consumer, cursor in take(log, target, topic, tell).cursors.items():
                    target.ack(topic, consumer, cursor)
            return
    raise MaintenanceRunning("the ledger was compacted each time it was copied: try again later")


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """A name for a file beside another one. What has it at the end is removed."""
    draft = path.with_name(f".{path.name}.{urandom(4).hex()}.draft")
    with translated_errors(path):
        try:
            yield draft
        finally:
            for left in (draft, *companions(draft)):
                left.unlink(missing_ok=True)
