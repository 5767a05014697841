"""What standard error says, and the exit codes that go with it."""

from __future__ import annotations

import pytest

from sessionledger import CorruptLog, LogUnavailable, WriteContention
from sessionledger.cli.output.errors import report, warn


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WriteContention("busy"), 3),
        (CorruptLog("damaged"), 4),
        (OSError(28, "No space left on device"), 4),
    ],
)
def test_exit_codes(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(error, as_json=False) == code
    assert capsys.readouterr().err.startswith("error: ")


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        report(ZeroDivisionError(), as_json=False)


def test_what_could_not_be_recorded_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    warn(LogUnavailable("the disk is \x1b full"))
    assert capsys.readouterr().err == "warning: the disk is \\x1b full\n"
