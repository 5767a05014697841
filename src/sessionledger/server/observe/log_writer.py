"""Lines on standard error, written by a thread of their own.

Whoever reads them may stand still, or be gone. A request never waits for that: lines that find no
room in the queue are dropped, and counted.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeAlias

STDERR = 2
MAX_WAITING_BYTES = 1024 * 1024
CLOSE_SECONDS = 2.0
"""How long a stop waits for a reader that stands still."""

Write: TypeAlias = Callable[[bytes], object]


def write_to_stderr(lines: bytes) -> None:
    """Write to the standard error of the process, unbuffered.

    A write is a piece of whole lines that a pipe takes at once: so the lines of several workers
    don't mix.
    """
    while lines:
        end = len(lines)
        if end > select.PIPE_BUF:
            end = lines.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
        lines = lines[os.write(STDERR, lines[:end]) :]


class LogWriter:
    """Writes lines in a thread that the first line starts.

    on_drop: told how many lines were dropped. write: may block, and may raise `OSError`.
    """

    def __init__(self, on_drop: Callable[[int], None], write: Write = write_to_stderr) -> None:
        self._on_drop = on_drop
        self._write = write
        self._mutex = threading.Lock()
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._waiting = 0
        self._thread: threading.Thread | None = None

    def write(self, lines: bytes) -> None:
        """Have whole lines written, or drop them. Never waits, and never fails."""
        with self._mutex:
            if self._waiting + len(lines) > MAX_WAITING_BYTES:
                self._on_drop(lines.count(b"\n"))
                return
            self._waiting += len(lines)
            self._queue.put(lines)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
                self._thread.start()

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Wait until all is written, at most so many seconds. It may be used again."""
        with self._mutex:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(timeout)

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            written = self._is_written(lines)
            with self._mutex:
                self._waiting -= len(lines)
                if not written:
                    self._on_drop(lines.count(b"\n"))

    def _is_written(self, lines: bytes) -> bool:
        try:
            self._write(lines)
        except OSError:  # nobody reads any more, or the disk is full
            return False
        return True


class LogHandler(logging.Handler):
    """Hands the messages of `logging` to a writer: they may not block a request either."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Hand it over as whole lines."""
        self._writer.write(f"{self.format(record)}\n".encode(errors="backslashreplace"))

    def flush(self) -> None:
        """Wait until all is written, as long as a stop does."""
        self._writer.close()
