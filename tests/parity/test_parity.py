"""Every recorded answer, on both stores and every log."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from tests.parity.backends import BACKENDS, COLOURS
from tests.parity.check import Outcome, omissions, replays_of_log, replays_of_sequence, takes
from tests.parity.recorded import Sequence, WrittenLog, read_recording

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY / "tests/data/parity"
SHARED = REPOSITORY.parent / "shared/parity"


def fingerprints(folder: Path) -> dict[Path, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): sha256(path.read_bytes()).hexdigest() for path in files}


# Ours is a copy of the one that was shared, which is replayed as well where it says anything else.
FOLDERS = [DATA, *([SHARED] if fingerprints(SHARED) not in ({}, fingerprints(DATA)) else [])]
RECORDINGS = {folder.parts[-2]: read_recording(folder) for folder in FOLDERS}
REPLAYED = [
    pytest.param(sequence, log, id=f"{where}-{sequence.name}-{log}")
    for where, recording in RECORDINGS.items()
    for sequence in recording.sequences
    for log in BACKENDS
    if takes(log, sequence)
]
LOGS = [
    pytest.param(written, id=f"{where}-{written.name}")
    for where, recording in RECORDINGS.items()
    for written in recording.logs
]


def problems(outcomes: list[Outcome]) -> list[str]:
    return [str(outcome) for outcome in outcomes if outcome.problem is not None]


@pytest.mark.parametrize(("sequence", "log"), REPLAYED)
def test_a_sequence_is_answered_as_recorded(sequence: Sequence, log: str) -> None:
    outcomes = list(replays_of_sequence(sequence, log))

    assert problems(outcomes) == []
    assert len(outcomes) == len(COLOURS)


@pytest.mark.parametrize("written", LOGS)
def test_a_log_of_the_reference_is_read_and_continued(written: WrittenLog) -> None:
    if written.backend not in BACKENDS:
        pytest.skip(f"there is no {written.backend} log yet")

    outcomes = list(replays_of_log(written))

    assert problems(outcomes) == []
    assert len(outcomes) == len(COLOURS)


def test_each_sequence_left_out_of_a_log_is_there_in_a_form_that_it_takes() -> None:
    sequences = RECORDINGS["data"].sequences
    seeds = {sequence.name.split(" (")[0] for sequence in sequences}
    for log in BACKENDS:
        taken = {s.name.split(" (")[0] for s in sequences if takes(log, s)}
        assert taken == seeds, log


def test_what_is_left_out_is_said() -> None:
    reopening = sum(sequence.reopens for sequence in RECORDINGS["data"].sequences)
    unopened = [log for log in RECORDINGS["data"].logs if log.backend not in BACKENDS]

    lines = list(omissions(RECORDINGS["data"]))

    assert len(lines) == len(unopened) + 1
    assert (
        lines[-1] == f"not replayed: on memory, {reopening} sequences that open a closed log again"
    )


def test_replaying_leaves_the_recording_as_it_is() -> None:
    before = fingerprints(DATA)
    for written in RECORDINGS["data"].logs:
        list(replays_of_log(written))
    assert fingerprints(DATA) == before
