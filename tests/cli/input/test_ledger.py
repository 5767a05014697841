"""The ledger that a command is called on, and how long it is waited for."""

from __future__ import annotations

import json

import pytest

from tests.cli.running import Line
from tests.logs.stopped_writer import stopped_writer


@pytest.mark.middle
def test_a_command_waits_as_long_as_the_address_says_and_names_who_keeps_it(line: Line) -> None:
    _, handle = line.create()
    url = f"sqlite:///{line.folder}/sessions.db"
    with stopped_writer(url) as other:
        answer = line.process(
            "revoke", "--handle", handle, "--ledger", f"{url}?timeout=200ms", "--json"
        )
        assert (answer.code, answer.out) == (4, "")
        said = json.loads(answer.err)
        assert said["error"] == "log_timeout"
        assert f"process {other.pid} " in said["message"]
        assert "nothing was written" in said["message"]
        assert line("sessions", "--ledger", f"{url}?timeout=200ms").code == 0
        other.resume()
    assert line("revoke", "--handle", handle, "--ledger", f"{url}?timeout=10s").code == 0


def test_an_address_with_a_timeout_that_can_not_be_is_bad_usage(line: Line) -> None:
    answer = line("create", "alice", "--ledger", "sqlite:///sessions.db?timeout=5")
    assert (answer.code, answer.out) == (2, "")
    assert "timeout=10s" in answer.err
    assert not (line.folder / "sessions.db").exists()
