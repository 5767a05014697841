"""Replaying whole recordings, everything on every log that can take it, and saying what differs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Set
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from sessionledger.logs import chain
from sessionledger.logs.base import Log
from tests.parity.backends import BACKENDS, COLOURS
from tests.parity.compare import blurred_instants, difference
from tests.parity.recorded import Object, Recording, Sequence, Step, WrittenLog
from tests.parity.replay import Replay

_ALL = 1_000_000
_LOG_ID, _STORE = "L", "A"
_CREATE: Object = {
    "op": "create",
    "store": _STORE,
    "id": "appended-by-the-replay-to-a-copy-of-the-log",
    "principal": "replay",
    "created_at": None,
    "expires_at": "9999-01-01T00:00:00Z",
    "attributes": {},
}


class Outcome(NamedTuple):
    """One recording on one store and one log; `problem` is None where nothing differed."""

    recording: str
    store: str
    log: str
    problem: str | None

    def __str__(self) -> str:
        return f"{self.recording} · {self.store} · {self.log} · {self.problem or 'passed'}"


def replays(recording: Recording) -> Iterator[Outcome]:
    """Everything that can be replayed."""
    for sequence in recording.sequences:
        for log in BACKENDS:
            if takes(log, sequence):
                yield from replays_of_sequence(sequence, log)
    for written in recording.logs:
        yield from replays_of_log(written)


def replays_of_sequence(sequence: Sequence, log: str) -> Iterator[Outcome]:
    """A sequence with both stores on a log that can take it."""
    yield from _on_both(log, sequence.name, lambda replay: _problem(replay, sequence.steps))


def replays_of_log(written: WrittenLog) -> Iterator[Outcome]:
    """A log of the reference with both stores; none where we have no such log."""
    if written.backend in BACKENDS:
        yield from _on_both(
            written.backend, written.name, lambda replay: _problem_of_log(replay, written)
        )


def takes(log: str, sequence: Sequence) -> bool:
    """Whether a sequence can run on that log: not where it needs what the log does not keep."""
    return BACKENDS[log].persists or not sequence.reopens


def omissions(recording: Recording) -> Iterator[str]:
    """What was not replayed, and why, a line each."""
    for written in recording.logs:
        if written.backend not in BACKENDS:
            yield f"not replayed: {written.name}: there is no {written.backend} log to open it"
    for log in BACKENDS:
        left_out = sum(not takes(log, sequence) for sequence in recording.sequences)
        if left_out:
            yield f"not replayed: on {log}, {left_out} sequences that open a closed log again"


def _on_both(log: str, name: str, problem_of: Callable[[Replay], str | None]) -> Iterator[Outcome]:
    for store, colour in COLOURS.items():
        with TemporaryDirectory() as root, colour.settling() as settle:
            replay = Replay(BACKENDS[log], colour, settle, Path(root))
            try:
                yield Outcome(name, store, log, problem_of(replay))
            finally:
                replay.close()


def _problem(replay: Replay, steps: list[Step], blurred: Set[datetime] = frozenset()) -> str | None:
    for number, (command, expected) in enumerate(steps, 1):
        found = difference(expected, replay.answer(command), replay.masks, blurred)
        if found is not None:
            return f"command {number}, {command['op']}: {found}"
    return None


def _problem_of_log(replay: Replay, written: WrittenLog) -> str | None:
    try:
        log = _open_copy(replay, written)
    except Exception as error:
        return f"the copy does not open: {type(error).__name__}"
    blurred = blurred_instants([step.result for step in written.steps])
    return (
        _problem(replay, [in_microseconds(step) for step in written.steps], blurred)
        or _problem_of_chain(log)
        or _problem_of_append(replay, log, written.topic)
        or _problem_of_chain(log)
    )


def _open_copy(replay: Replay, written: WrittenLog) -> Log:
    copy = Path(shutil.copytree(written.folder, replay.root / "copy"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    stores = {command["store"] for command, _ in written.steps if "store" in command}
    return replay.attach(_LOG_ID, f"copy/{written.opened}", stores | {_STORE})


def in_microseconds(step: Step) -> Step:
    """The step had the reference cut its times as we do: over, where `now` reaches the end."""
    command, session = step.command, step.result.get("ok")
    if command["op"] != "get" or not session:
        return step
    end, now = (datetime.fromisoformat(text) for text in (session["expires_at"], command["now"]))
    return Step(command, {"ok": None}) if end <= now else step


def _problem_of_chain(log: Log) -> str | None:
    for topic in log.topics():
        verdict = chain.verify(topic, log.read(topic, limit=_ALL))
        if isinstance(verdict, chain.Break):
            return f"the chain of {topic} breaks at event {verdict.id}: {verdict.problem}"
    return None


def _problem_of_append(replay: Replay, log: Log, topic: str) -> str | None:
    before = _head(log, topic)
    answer = replay.answer(_CREATE)
    if "ok" not in answer:
        return f"an append is refused: {answer['err']['kind']}"
    appended = log.read(topic, before.id)
    if [event.id for event in appended] != [before.id + 1]:
        return f"an append after event {before.id} wrote {[event.id for event in appended]}"
    if appended[0].headers.get(chain.PREV_HEADER) != before.hash:
        return f"the append after event {before.id} does not continue the chain"
    return None


def _head(log: Log, topic: str) -> chain.Head:
    newest = log.read(topic, log.latest(topic) - 1, 1) if log.latest(topic) else []
    return chain.head_after(newest[0]) if newest else chain.EMPTY
