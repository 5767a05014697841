"""Reading a folder of parity data: recorded sequences, and logs that the reference wrote."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
Object: TypeAlias = dict[str, Any]

TRACES = ("traces.jsonl.gz", "traces.jsonl")


class NotParityData(Exception):
    """The folder can't be replayed; the message says what is missing or unreadable."""


class Step(NamedTuple):
    """A command, and what the reference answered to it."""

    command: Object
    result: Object


class Sequence(NamedTuple):
    """Commands on a log that is empty at first."""

    name: str
    steps: list[Step]

    def __repr__(self) -> str:
        return self.name  # failing tests show it, and the steps hold tokens

    @property
    def reopens(self) -> bool:
        """Whether it needs a log that outlives its closing, or is opened twice at once."""
        openings = {(step.command["path"], opening) for step, opening in _openings(self.steps)}
        return len(openings) > len({path for path, _ in openings})


class WrittenLog(NamedTuple):
    """A log that the reference wrote, and what a fresh process of it answered about a copy.

    folder: what has to be copied. opened: the file or folder in there that is the log.
    """

    name: str
    backend: str
    folder: Path
    opened: str
    topic: str
    steps: list[Step]

    def __repr__(self) -> str:
        return self.name


class Recording(NamedTuple):
    """Everything in a folder."""

    sequences: list[Sequence]
    logs: list[WrittenLog]


def read_recording(folder: Path) -> Recording:
    """All there is in a folder of parity data. Raises `NotParityData`."""
    if not folder.is_dir():
        raise NotParityData(f"{folder} is not a folder")
    traces = [folder / name for name in TRACES if (folder / name).exists()]
    metas = sorted(folder.glob("logs/*/meta.json"))
    if not traces and not metas:
        raise NotParityData(
            f"{folder} is not parity data: it has no {' or '.join(TRACES)}, and no logs/*/meta.json"
        )
    recording = Recording(
        [sequence for path in traces for sequence in _each(path, _sequence)],
        [_written_log(meta) for meta in metas],
    )
    if not recording.sequences and not recording.logs:
        raise NotParityData(f"{folder} holds no sequence")
    return recording


def _sequence(trace: Object) -> Sequence:
    commands, results = trace["commands"], trace["results"]
    if len(commands) != len(results):
        raise ValueError(f"{len(commands)} commands have {len(results)} results")
    steps = [_step(*pair) for pair in zip(commands, results, strict=True)]
    if trace["log"] == "memory":
        # It was empty at each opening: on a log that is not, each needs a place of its own.
        for step, opening in _openings(steps):
            step.command["path"] = opening
    return Sequence(f"{trace['seed']} ({trace['log']})", steps)


def _openings(steps: list[Step]) -> Iterator[tuple[Step, str]]:
    """Every `open`, and which opening it is of which log: the same until that is closed."""
    closed: Counter[str] = Counter()
    for step in steps:
        log_id = step.command.get("log_id", "")
        if step.command["op"] == "close":
            closed[log_id] += 1
        elif step.command["op"] == "open":
            yield step, f"{log_id}-{closed[log_id]}"


def _written_log(meta: Path) -> WrittenLog:
    about: Object = next(_each(meta, lambda value: value))
    try:
        opened = Path(about["open"])
        return WrittenLog(
            name=f"logs/{meta.parent.name}",
            backend=about["log"],
            folder=meta.parent / opened.parent,
            opened=opened.name,
            topic=about["topic"],
            steps=list(_each(meta.with_name("expected.jsonl"), _expectation)),
        )
    except KeyError as error:
        raise NotParityData(f"{meta} lacks {error}") from None


def _expectation(line: Object) -> Step:
    return _step(line["command"], line["result"])


def _step(command: Object, result: Object) -> Step:
    if "op" not in command or not {"ok", "err"} & result.keys():
        raise ValueError("a command has an op, and a result is ok or err")
    return Step(command, result)


def _each(path: Path, read: Callable[[Object], T]) -> Iterator[T]:
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, 1):
                yield _read(path, number, line, read)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise NotParityData(f"{path} can't be read: {error}") from None


def _opened(path: Path) -> Any:
    return (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8")


def _read(path: Path, number: int, line: str, read: Callable[[Object], T]) -> T:
    try:
        return read(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # A decoding error's text may quote the line, and with it a token: say only what it is.
        problem = f"lacks {error}" if isinstance(error, KeyError) else type(error).__name__
        raise NotParityData(f"{path}, line {number} is no recording: {problem}") from None
