"""What writers say before and after each call: the only knowledge that the checker relies on.

A writer sends a line before a call and a line after it, by a pipe to the parent. A line is shorter
than `PIPE_BUF`, so it arrives whole or not at all, and all writers share one order. If one call was
answered before another began, its line stands first.
"""

from __future__ import annotations

import select
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from sessionledger import Session, SessionLedgerError

SESSION, NOTHING, DONE = "session", "nothing", "done"


class Entry(msgspec.Struct, omit_defaults=True):
    """A line: the beginning of a call, or its answer.

    handle: what the call is about. issued, token: what it began. value: what it wrote, under the
    writer's own name. values, version: what was read. answer: empty for a beginning; else one of
    the constants above, or the name of an error, and what it said.
    """

    writer: int
    number: int
    call: str
    answer: str = ""
    handle: str = ""
    principal: str = ""
    parent: str = ""
    token: str = ""
    issued: str = ""
    version: int = 0
    value: int = 0
    count: int = 0
    values: dict[str, int] = {}
    said: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode

Send = Callable[[bytes], object]


class Recorder:
    """A writer's side of the journal."""

    def __init__(self, writer: int, send: Send) -> None:
        self.writer = writer
        self.send = send
        self._number = 0

    @contextmanager
    def call(self, name: str, **about: str | int) -> Iterator[Answer]:
        """Say that a call begins, and what it answered or raised."""
        self._number += 1
        entry = msgspec.convert(
            {"writer": self.writer, "number": self._number, "call": name, **about}, Entry
        )
        self._write(entry)
        answer = Answer(entry)
        try:
            yield answer
        except SessionLedgerError as error:
            entry.answer, entry.said = type(error).__name__, str(error)[:300]
        except Exception as error:
            entry.answer = f"raw {type(error).__name__}"
            entry.said = "".join(traceback.format_exception(error))[-1500:]
        self._write(entry)

    def _write(self, entry: Entry) -> None:
        self.send(_encode(entry) + b"\n")


class Answer:
    """Takes what a call answered."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def session(self, session: Session | None) -> None:
        """The call answered a session, or None."""
        self._entry.answer = NOTHING if session is None else SESSION
        if session is not None:
            self._entry.version = session.version
            self._entry.values = {
                name: value for name, value in session.attributes.items() if type(value) is int
            }

    def issued(self, session: Session | None, token: str = "") -> None:
        """The call answered a new session, or None."""
        self.session(session)
        if session is not None:
            self._entry.issued, self._entry.token = session.handle, token

    def done(self, count: int = 0) -> None:
        """The call answered, and showed no session."""
        self._entry.answer, self._entry.count = DONE, count


class Journal:
    """The parent's side: every line in the order of the pipe."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._torn = b""

    def feed(self, data: bytes) -> None:
        """Take in what was read from the pipe."""
        *lines, self._torn = (self._torn + data).split(b"\n")
        self.entries += map(_decode, lines)

    def recorder(self, writer: int) -> Recorder:
        """For calls that the parent makes itself."""
        return Recorder(writer, self.feed)

    def lines(self) -> bytes:
        """The journal as text, for people who look into a failure."""
        return b"".join(_encode(entry) + b"\n" for entry in self.entries)

    def tokens(self) -> dict[str, str]:
        """Every token that was made, by its handle."""
        return {entry.issued or entry.handle: entry.token for entry in self.entries if entry.token}


def readable(descriptor: int, seconds: float) -> bool:
    """Whether something can be read from a pipe within so many seconds."""
    return bool(select.select([descriptor], [], [], seconds)[0])
