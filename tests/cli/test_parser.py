"""Arguments: what belongs to which option, and what is wrong with it."""

from __future__ import annotations

import pytest

from tests.cli.running import Line


@pytest.mark.parametrize("text", ["--json", "--help", "-x", "--", "--ledger=other.db", "-l", ""])
def test_the_value_of_an_option_is_its_value_whatever_it_looks_like(line: Line, text: str) -> None:
    created = line("create", "alice", "--reason", text)
    assert created.out.startswith("harn_sess_")
    assert line("history", "--principal", "alice", "--json").record["reason"] == text


def test_options_are_told_apart_in_every_form(line: Line) -> None:
    _, handle = line.create()
    for arguments in (
        ["--ledger", "sessions.db", "--handle", handle],
        ["-l", "sessions.db", f"--handle={handle}"],
        ["-lsessions.db", "--handle", "other", "--handle", handle],
        ["--handle", handle, "--ledger=sqlite:///sessions.db"],
    ):
        assert line("get", *arguments).row[0] == handle


def test_what_follows_two_dashes_is_no_option(line: Line) -> None:
    assert line("create", "--", "--help").out.startswith("harn_sess_")
    assert line("sessions").row[1] == "--help"


def test_options_are_not_abbreviated(line: Line) -> None:
    answer = line("get", "--led", "sessions.db")
    assert (answer.code, answer.err) == (
        2,
        "error: no such option: --led; did you mean --ledger?\n",
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "alice", "--ttl", "5x"], "--ttl: a duration is written like 90s"),
        (["create", "alice", "--ttl", "5x"], "got '5x'"),
        (["create", "alice", "--ttl"], "--ttl needs a value: SPAN"),
        (["create"], "PRINCIPAL is missing"),
        (["as-of", "--at", "2030-01-31T12:00:00Z"], "--handle is missing"),
        (["create", "alice", "--context", "x"], "--context: must be key=value, got 'x'"),
        (["events", "--limit", "0"], "--limit: must be at least 1, got '0'"),
        (["get", "--json=yes"], "--json takes no value"),
        (["histroy"], "no such command: histroy; did you mean history?"),
        (["keys", "lits"], "no such command: lits; did you mean list?"),
        (["keys", "--all"], "no such option: --all"),
        (["--verbose"], "no such option: --verbose; did you mean --version?"),
    ],
)
def test_an_error_says_what_is_wrong(line: Line, arguments: list[str], says: str) -> None:
    answer = line(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
