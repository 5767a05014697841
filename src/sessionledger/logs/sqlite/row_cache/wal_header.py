"""The header of the WAL-index, which changes with every commit of any process.

In WAL mode all connections of all processes share a piece of memory, the WAL-index. It begins with
a header of 48 bytes, twice. A commit writes the second copy, then a barrier, then the first. Nobody
sees the commit until its first copy is there, and it is acknowledged only afterwards. A reader that
finds the header unchanged has therefore missed nothing that was acknowledged before.

A copy of the header is a stamp: it identifies one state of the database, and no other ever after.
It holds the number of frames in the log, their checksum, and two salts that change whenever the
log is begun again. If both salts are 0 the log has not been begun. Then the header is no stamp,
since several states look alike.

The memory is SQLite's own mapping, found by one of our connections through the public interface of
SQLite's files. It is read only while that connection is open. No file is opened for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import apsw

from sessionledger.errors import SessionLedgerError
from sessionledger.logs.concurrency.greenlets import allocate_lock, get_ident
from sessionledger.logs.sqlite.readers import Gate, Reader

COPY_BYTES = 48
HEADER_BYTES = 2 * COPY_BYTES

_VERSION = (3_007_000).to_bytes(4, sys.byteorder)
_IS_INIT = 12
_SALTS = slice(32, 40)
_NO_SALTS = bytes(8)

_REGION_BYTES = 32768
_METHODS_WITH_SHARED_MEMORY = 2
# Its index in the table of a file's methods. The first entry is a version; then follow xClose,
# xRead, xWrite, xTruncate, xSync, xFileSize, xLock, xUnlock, xCheckReservedLock, xFileControl,
# xSectorSize, xDeviceCharacteristics, xShmMap.
_SHM_MAP = 13

_LOOK_AT_ANYTHING = "SELECT count(*) FROM sqlite_master"


def is_supported() -> bool:
    """Whether the header can be trusted here to be seen as it is, and not after it is gone.

    What this rests on: loads are not reordered with loads, and no other thread runs while one
    compares. It was tested where this says so, and nowhere else.
    """
    return (
        sys.platform == "linux"
        and os.uname().machine == "x86_64"
        and sys.implementation.name == "cpython"
        and "t" not in sys.abiflags
    )


class WalHeader(Reader):
    """A connection that keeps the header in its place while it is open, and does nothing else."""

    def __init__(self, connect: Callable[[], apsw.Connection], gate: Gate) -> None:
        super().__init__(connect, gate)
        self._opening = allocate_lock()
        self._refused = not is_supported()
        self._header: memoryview | None = None

    def header(self) -> memoryview | None:
        """The memory of both copies, by eight bytes; None where it can't be trusted.

        Once released it equals nothing, which is how a close is noticed.
        """
        if self._header is None and not self._refused and self._opening.acquire(blocking=False):
            try:
                if self._header is None:
                    self._open()
            finally:
                self._opening.release()
        return self._header

    def refuse(self) -> None:
        """Have no header from here on: the connections are not all on one file."""
        self._refused = True
        self._release()

    def close(self) -> None:
        # First of all, and under the interpreter's lock: no thread compares what is not mapped.
        self._release()
        super().close()

    def _open(self) -> None:
        self._thread = get_ident()
        self.inside = True
        try:
            if self._gate.closed:
                self._wait()
            self.execute(_LOOK_AT_ANYTHING).fetchall()
            assert self._connection is not None
            self._header = _header_of(self._connection)
            # `refuse` sets its flag first and releases then, so one of the two sees the other.
            if self._header is None or self._refused:
                self.refuse()
        except (apsw.Error, OSError, SessionLedgerError):
            # Every thread reads by a connection of its own, and does without this one.
            self._refused = True
        finally:
            self.inside = False

    def _release(self) -> None:
        header, self._header = self._header, None
        if header is not None:
            header.release()


def is_stamp(header: memoryview) -> bool:
    """Whether the header, with both its copies, identifies a state of the database.

    It does not while it is being written, nor where two different states may look alike.
    """
    seen = header.tobytes()
    whole = seen[:COPY_BYTES] == seen[COPY_BYTES:] and seen.startswith(_VERSION)
    return whole and seen[_IS_INIT] == 1 and seen[_SALTS] != _NO_SALTS


def _header_of(connection: apsw.Connection) -> memoryview | None:
    """Where SQLite has mapped the header; None if it is not shared by all who have the file."""
    if connection.readonly("main") or connection.pragma("locking_mode") != "normal":
        return None
    try:
        import ctypes
    except ImportError:
        return None
    pointer = ctypes.c_void_p
    file = pointer()
    connection.file_control("main", apsw.SQLITE_FCNTL_FILE_POINTER, ctypes.addressof(file))
    methods = ctypes.cast(file, ctypes.POINTER(pointer))[0]
    if not methods or ctypes.c_int.from_address(methods).value < _METHODS_WITH_SHARED_MEMORY:
        return None
    shm_map = ctypes.cast(methods, ctypes.POINTER(pointer))[_SHM_MAP]
    if not shm_map:
        return None
    take = ctypes.CFUNCTYPE(
        ctypes.c_int, pointer, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.POINTER(pointer)
    )(shm_map)
    at = pointer()
    if take(file, 0, _REGION_BYTES, 0, ctypes.byref(at)) != apsw.SQLITE_OK or not at.value:
        return None
    return memoryview((ctypes.c_ubyte * HEADER_BYTES).from_address(at.value)).cast("B").cast("Q")
