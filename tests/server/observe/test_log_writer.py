"""Lines on standard error: whoever reads them can neither stop the service nor break it."""

from __future__ import annotations

import http.client
import logging
import os
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sessionledger.server.observe import log_writer
from sessionledger.server.observe.log_writer import (
    MAX_WAITING_BYTES,
    LogHandler,
    LogWriter,
    write_to_stderr,
)
from sessionledger.testing.fixtures import until
from tests.server.served import COMMAND, PATIENCE_SECONDS, command, environment

PIPE_BYTES = 64 * 1024


def test_a_pipe_gets_whole_lines_in_pieces_that_it_takes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(log_writer, "STDERR", theirs.fileno())
    lines = b"".join(b"%d %b\n" % (number, b"x" * (number % 200)) for number in range(300))
    with ours, theirs:
        write_to_stderr(lines)
        theirs.shutdown(socket.SHUT_WR)
        pieces = list(iter(lambda: os.read(ours.fileno(), len(lines)), b""))
    assert b"".join(pieces) == lines
    assert len(pieces) > 1
    assert all(piece.endswith(b"\n") and len(piece) <= select.PIPE_BUF for piece in pieces)


def test_a_writer_that_stands_still_is_not_waited_for_and_what_is_dropped_is_counted() -> None:
    goes_on = threading.Event()
    written: list[bytes] = []
    dropped: list[int] = []

    def write(lines: bytes) -> None:
        goes_on.wait(PATIENCE_SECONDS)
        written.append(lines)

    writer = LogWriter(dropped.append, write)
    line = b"x" * 1023 + b"\n"
    for _ in range(3 * MAX_WAITING_BYTES // len(line)):
        writer.write(line)
    assert sum(dropped) == 2 * MAX_WAITING_BYTES // len(line)
    writer.close(timeout=0.01)
    goes_on.set()
    until(lambda: len(written) == MAX_WAITING_BYTES // len(line))
    writer.write(b"and on\n")
    writer.close()
    assert written[-1] == b"and on\n"


def test_what_can_t_be_written_is_counted_and_the_next_line_is_tried() -> None:
    dropped: list[int] = []
    written: list[bytes] = []

    def write(lines: bytes) -> None:
        if lines.startswith(b"a"):
            raise BrokenPipeError
        written.append(lines)

    writer = LogWriter(dropped.append, write)
    for lines in (b"a\na\n", b"b\n"):
        writer.write(lines)
    writer.close()
    assert (dropped, written) == ([2], [b"b\n"])


def test_messages_are_written_as_lines() -> None:
    written: list[bytes] = []
    handler = LogHandler(LogWriter(lambda _: None, written.append))
    logger = logging.Logger("apart")
    logger.addHandler(handler)
    logger.error("it failed: %s", "why \udc80")
    handler.flush()
    assert written == [b"it failed: why \\udc80\n"]


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """A service, its port, and the end of the pipe that it writes on, which nobody reads."""
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", *options],
        cwd=folder,
        env=environment(),
        stderr=theirs,
    )
    os.close(theirs)
    try:
        said = b""
        while not said.endswith(b"\n"):
            said += os.read(ours, 1)
        yield process, int(said.strip().rpartition(b":")[2]), ours
    finally:
        process.kill()
        process.wait(PATIENCE_SECONDS)


def statuses(port: int, path: str, token: str, times: int) -> set[int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    told = set()
    for _ in range(times):
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        told.add(answer.status)
    connection.close()
    return told


def dropped(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    (line,) = (
        x for x in text.splitlines() if x.startswith("sessionledger_log_lines_dropped_total")
    )
    return int(line.split()[1])


def test_a_reader_that_stands_still_stops_no_request_and_no_stop(tmp_path: Path) -> None:
    token = command(tmp_path, "create", "alice")
    with serving(tmp_path) as (process, port, reading):
        assert statuses(port, "/auth", token, 3000) == {200}
        assert statuses(port, "/healthz", token, 1) == {200}
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
        os.close(reading)


def test_a_reader_that_is_gone_breaks_nothing_and_its_lines_are_counted(tmp_path: Path) -> None:
    token = command(tmp_path, "create", "alice")
    with serving(tmp_path) as (process, port, reading):
        os.close(reading)
        assert statuses(port, "/auth", token, 20) == {200}
        until(lambda: dropped(port) >= 20)
        assert statuses(port, "/metrics", token, 20) == {200}
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
