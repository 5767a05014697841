"""A backup: one SQLite file with all topics of a ledger, of whatever kind, that is in use.

1. A draft beside the file is marked, so that nothing but `restore` opens it.
2. The topics are copied into it. Writers go on meanwhile.
3. The chains and the bases of the draft are verified. Then it is flushed and renamed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from os import urandom
from pathlib import Path

from msgspec.structs import replace

from sessionledger.core.policy import Policy
from sessionledger.errors import CorruptLog, HistoryCut, LogUnavailable, MaintenanceRunning
from sessionledger.logs.adapters.immediate import ImmediateLog, drive
from sessionledger.logs.base import Log, Progress, StoredEvent
from sessionledger.logs.compaction.transfer import Transfer, transfer_of
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
        with closing(SQLiteLog(draft)) as target:
            mark(draft)  # a process that is killed leaves it, and sessions in it may have ended
            _copy(log, target, progress)
            topics = tuple(verified(target, topic) for topic in target.topics())
        finish(draft)
        _claim(path)
        draft.rename(path)
        flush(path.parent)
    return BackedUp(path=path, bytes=path.stat().st_size, topics=topics)


def _refuse(path: Path, ledger: Path) -> None:
    if path.exists():
        raise LogUnavailable(_EXISTS.format(path))
    # SQLite takes a file of such a name for the journal of a crash, and a folder's for a topic.
    if ledger in path.parents or path in companions(ledger):
        raise LogUnavailable(f"{path} would be taken for a part of the ledger: name another file")


def _claim(path: Path) -> None:
    """Make the file that a draft is about to replace. Of two backups to one name one is refused."""
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise LogUnavailable(_EXISTS.format(path)) from None


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
    for _ in range(_ATTEMPTS):
        topics = {name: transfer_of(log, name) for name in log.topics()}
        with suppress(HistoryCut):
            return target.receive(counted(topics, progress))
    raise MaintenanceRunning("the ledger was compacted each time it was copied: try again later")


def counted(topics: dict[str, Transfer], progress: Progress | None) -> dict[str, Transfer]:
    """The topics, with `progress` told how many events of all are done."""
    if progress is None:
        return topics
    done = 0

    def counting(transfer: Transfer) -> Transfer:
        def events() -> Iterator[Sequence[StoredEvent]]:
            nonlocal done
            for page in transfer.events():
                yield page
                done += len(page)
                progress(done)

        return replace(transfer, events=events)

    return {name: counting(transfer) for name, transfer in topics.items()}


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
