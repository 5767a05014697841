from __future__ import annotations

import pytest

from sessionledger.cli.output.progress import LateBar


def test_the_progress_bar_comes_late(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    seconds = iter([0.0, 0.9, 1.1])
    bar = LateBar("verifying", 100, clock=lambda: next(seconds))
    bar(10)
    assert capsys.readouterr().err == ""
    bar(50)
    bar.stop()
    assert "verifying" in capsys.readouterr().err
