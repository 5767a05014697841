"""Endpoints in a file that only its owner may read.

One process at a time writes the whole file and replaces it atomically. A reader sees the state
before or the state after. The right to deliver is the lock of a file beside it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import msgspec

from sessionledger import LogUnavailable
from sessionledger.ownership import (
    Owner,
    flush,
    holder_of,
    open_companion,
    open_trusted,
    owner_of,
    resolved,
)
from sessionledger.webhooks.endpoints import Endpoints, Known, UnsafeFile

PATIENCE_SECONDS, LOOK_AGAIN_SECONDS = 10.0, 0.02


class EndpointFile(Endpoints):
    """The file of the endpoints. The ledger's owner has it; without a ledger, its maker has it.

    ledger: its file or folder, None for one that has neither.
    """

    def __init__(self, path: Path, ledger: Path | None = None) -> None:
        self.path = path
        self._ledger = ledger

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> Known:
        try:
            with _unsafe(self.path):
                file = open_trusted(self.path, self._owner(), os.O_RDONLY, forbidden=0o077)
        except FileNotFoundError:
            return ()
        with open(file, "rb") as opened:  # noqa: PTH123  a descriptor that was checked
            text = opened.read()
        try:
            return msgspec.json.decode(text, type=Known)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UnsafeFile(f"{self.path} does not hold endpoints") from None

    def lease(self) -> FileLease:
        return FileLease(self)

    def _change(self, change: Callable[[Known], Known]) -> None:
        with self._locked():
            before = self.read()
            after = change(before)
            if after != before:
                self._write(after)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.open_beside("-lock")
        try:
            end = monotonic() + PATIENCE_SECONDS
            while not is_locked_by_us(lock):
                if monotonic() > end:
                    who = holder_of(_beside(self.path, "-lock"))
                    raise UnsafeFile(f"{who} is still changing {self.path}: try again later")
                sleep(LOOK_AGAIN_SECONDS)
            yield
        finally:
            os.close(lock)

    def _write(self, endpoints: Known) -> None:
        new = _beside(self.path, "-new")
        new.unlink(missing_ok=True)
        file = self.open_beside("-new")
        with open(file, "wb") as opened:  # noqa: PTH123  a descriptor with its mode
            opened.write(msgspec.json.format(msgspec.json.encode(endpoints), indent=1) + b"\n")
            opened.flush()
            os.fsync(file)
        new.replace(self.path)
        flush(self.path.parent)

    def open_beside(self, ending: str) -> int:
        """A file beside it, which is made if it is not there. Raises `UnsafeFile`."""
        path = _beside(self.path, ending)
        with _unsafe(path):
            return open_companion(path, self._owner())

    def _owner(self) -> Owner:
        if self._ledger is not None:
            return owner_of(self._ledger)
        # Root may act for whoever made the file.
        maker = os.geteuid() or owner_of(self.path).uid
        return Owner(maker, -1, 0o600)


def endpoint_file(ledger: Path | None, given: str | Path | None = None) -> EndpointFile | None:
    """The file that was given, or else the one of the ledger; None where there is neither.

    It is in the folder of a ledger that is one, or beside its file.
    """
    ledger = None if ledger is None else resolved(ledger)
    if given:
        return EndpointFile(Path(given), ledger)
    if ledger is None:
        return None
    if ledger.is_dir():
        return EndpointFile(ledger / "webhooks", ledger)
    return EndpointFile(ledger.with_name(ledger.name + "-webhooks"), ledger)


class FileLease:
    """As in `Lease`. It ends with its process."""

    seconds_left = None

    def __init__(self, file: EndpointFile) -> None:
        self._file = file
        self._lock: int | None = None
        self._is_mine = False

    def hold(self) -> bool:
        if self._lock is None:
            self._lock = self._file.open_beside("-dispatcher")
        self._is_mine = self._is_mine or is_locked_by_us(self._lock)
        return self._is_mine

    def release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock, self._is_mine = None, False


def is_locked_by_us(lock: int) -> bool:
    """Take the lock of an open file, if nobody else has it; whether it was taken."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _unsafe(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        owner = f", which user {path.stat().st_uid} owns" if os.access(path, os.F_OK) else ""
        raise UnsafeFile(f"{path}{owner}: {error.strerror}") from None
    except LogUnavailable as error:
        raise UnsafeFile(str(error)) from None


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
