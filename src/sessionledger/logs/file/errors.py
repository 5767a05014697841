"""What the system's errors mean for a ledger of files, and where one can be kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sessionledger.errors import CorruptLog, LedgerMoved, LogUnavailable, NotALedger
from sessionledger.logs.embedded.filesystem import check_is_local

TOPICS = "topics"
CHECKPOINTS = "checkpoints"
LEFT = "moved"
"""What the folder of topics is called once the ledger was left for its copy."""
LEFT_FOR = "to"
"""A file there, with the address of the copy."""
STAGED = "receiving"
"""A folder with a ledger that is about to become that of the folder around it."""
ARRIVING = "arriving"
"""What that folder is called while its parts take their places, one after the other."""
MAINTENANCE = "maintenance.lock"

_FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_PERMITTED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def opened_file(file: int) -> Iterator[int]:
    """Close a file afterwards. What was flushed stays, also where closing fails."""
    try:
        yield file
    finally:
        with suppress(OSError):
            os.close(file)


@contextmanager
def translated_errors(root: Path) -> Iterator[None]:
    """Turn the system's errors into ours, which name the ledger and what to do."""
    try:
        yield
    except CorruptLog:
        refuse_moved(root)
        raise
    except OSError as error:
        refuse_moved(root)
        if error.errno is None:
            raise  # not the system's: a signal handler raised it
        raise LogUnavailable(_meaning(root, error)) from error


def refuse_moved(root: Path) -> None:
    """Raises `LedgerMoved` for a ledger that was left for its copy."""
    with suppress(OSError):
        raise LedgerMoved((root / LEFT / LEFT_FOR).read_text()) from None


def _meaning(root: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return f"the disk of {root} is full; nothing was written"
    if error.errno == errno.EFBIG:
        return f"a file of {root} may not grow further; nothing was written: raise the limit"
    if error.errno in NOT_PERMITTED:
        return f"{root} can't be opened for writing: {_obstacle(root, error)}"
    return f"{root}: {error}"


def _obstacle(root: Path, error: OSError) -> str:
    named = [Path(str(error.filename))] if error.filename else []
    for path in (root, root.parent, *named):
        if os.access(path, os.F_OK) and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            return f"no permission to read and write {path}"
    return f"{error.strerror}: {error.filename or root}"


def check_location(root: Path) -> None:
    """Raises `LogUnavailable` for a path that can't hold a ledger, `NotALedger` for another's."""
    if not root.parent.is_dir():
        lack = "is not a folder" if root.parent.exists() else "does not exist or can't be reached"
        raise LogUnavailable(f"{root} can't be opened for writing: the folder {root.parent} {lack}")
    if root.exists() and not root.is_dir():
        raise NotALedger(f"{root} is a file, and a ledger of files is a folder; it was left as is")
    check_is_local(root)
    if root.is_dir():
        _check_content(root)


def _check_content(root: Path) -> None:
    ours = {TOPICS, CHECKPOINTS, "consumers", "durable", "ledger.lock", MAINTENANCE}
    refuse_moved(root)
    names = {entry.name for entry in os.scandir(root)}
    if names & {STAGED, ARRIVING} and TOPICS not in names:
        raise NotALedger(
            f"{root} holds an unfinished copy or restore: run the same command again, or remove it"
        )
    if names and TOPICS not in names and not names <= ours:
        few = ", ".join(sorted(names)[:5])
        raise NotALedger(f"{root} is a folder of something else ({few}); it was left as it is")
