"""The commands about webhooks; that what they set up is delivered to is in tests/webhooks."""

from __future__ import annotations

import signal

import pytest

from tests.cli.running import Line
from tests.logs.openers import address
from tests.webhooks.receiving import Receiver

URL = "https://example.com/hook"


@pytest.fixture(autouse=True)
def ledger(line: Line) -> None:
    line.create()


def test_an_endpoint_is_added_shown_and_removed(line: Line) -> None:
    added = line("webhooks", "add", URL, "--principal", "alice", "--json").record
    assert added["secret"].startswith("whsec_")
    shown = line("webhooks", "list", "--json")
    assert added["secret"] not in shown.out
    assert shown.record == {key: value for key, value in added.items() if key != "secret"}
    assert (shown.record["host"], shown.record["state"]) == ("example.com", "well")
    assert line("webhooks", "remove", added["id"]).code == 0
    assert line("webhooks", "list").out == ""
    assert line("webhooks", "remove", added["id"]).code == 1


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_every_command_works_on_every_ledger(line: Line, backend: str) -> None:
    ledger = {"SESSIONLEDGER_URL": address(backend, line.folder / "ledger")}
    assert line("create", "alice", **ledger).code == 0
    with Receiver().running() as receiver:
        options = ("--allow", "localhost", "--principal", "alice", "--json")
        added = line("webhooks", "add", receiver.url, *options, **ledger).record
        tried = line("webhooks", "test", added["id"], "--json", **ledger)
        assert tried.code == 0
        assert (tried.record["status"], tried.record["problem"]) == (204, None)
        receiver.answers = [500]
        refused = line("webhooks", "test", added["id"], "--json", **ledger)
        assert (refused.code, refused.record["problem"]) == (1, "answered 500")
        assert [got.verified(added["secret"])["type"] for got in receiver.got] == [
            "webhook.test"
        ] * 2
    assert line("webhooks", "list", "--json", **ledger).record["state"] == "well"
    assert line("webhooks", "enable", added["id"], **ledger).code == 0
    assert added["id"] in line("erase", "--principal", "alice", "--yes", **ledger).err
    assert line("webhooks", "remove", added["id"], **ledger).code == 0
    assert line("webhooks", "list", **ledger).out == ""
    for command in ("test", "enable", "remove"):
        assert line("webhooks", command, added["id"], **ledger).code == 1


def test_in_a_pipe_the_secret_stands_alone(line: Line) -> None:
    secret = line("webhooks", "add", URL).out.strip()
    assert secret.startswith("whsec_")
    assert len(secret) == len("whsec_") + 44


def test_endpoints_are_kept_beside_the_ledger_or_where_one_says(line: Line) -> None:
    line("webhooks", "add", URL)
    assert (line.folder / "sessions.db-webhooks").exists()
    line("webhooks", "add", URL, SESSIONLEDGER_WEBHOOKS="other")
    assert len(line("webhooks", "list").rows) == 1
    assert len(line("webhooks", "list", "--file", "other").rows) == 1


def test_endpoints_of_a_folder_are_kept_in_it(line: Line) -> None:
    line("create", "alice", "--ledger", "file:ledger")
    assert line("webhooks", "add", URL, "--ledger", "file:ledger").code == 0
    assert (line.folder / "ledger" / "webhooks").exists()
    assert line("verify", "--ledger", "file:ledger").code == 0
    assert line("doctor", "--ledger", "file:ledger").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://example.com/",), "https"),
        (("https://user:pw@example.com/",), "password"),
        (("https://example.com/", "--type", "session_created"), "session.created"),
        (("https://example.com/", "--allow", "localhost"), "example.com"),
        (("nonsense",), "https"),
    ],
)
def test_what_can_not_be_an_endpoint_is_refused_and_nothing_kept(
    line: Line, arguments: tuple[str, ...], said: str
) -> None:
    answer = line("webhooks", "add", *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert not (line.folder / "sessions.db-webhooks").exists()


def test_a_file_that_others_may_read_is_refused(line: Line) -> None:
    secret = line("webhooks", "add", URL).out.strip()
    (line.folder / "sessions.db-webhooks").chmod(0o644)
    for command in (("list",), ("add", URL), ("enable", "x"), ("remove", "x"), ("deliver",)):
        answer = line("webhooks", *command)
        assert answer.code == 4
        assert "chmod 600" in answer.err
        assert secret not in answer.out + answer.err


def test_an_endpoint_that_is_unknown_is_not_enabled(line: Line) -> None:
    assert line("webhooks", "enable", "none").code == 1


def test_an_event_that_has_not_happened_is_nothing_to_begin_after(line: Line) -> None:
    answer = line("webhooks", "add", "https://example.test/hook", "--after", "2")
    watching = line("watch", "--after", "2", "--limit", "1")
    assert (answer.code, answer.out) == (watching.code, watching.out) == (2, "")
    assert answer.err == watching.err
    assert "beyond the newest event, 1" in answer.err
    assert line("webhooks", "list").out == ""


def test_what_happened_before_is_told_only_when_asked_for(line: Line) -> None:
    with Receiver().running() as receiver:
        for options in ((), ("--after", "0")):
            line("webhooks", "add", receiver.url, "--allow", "localhost", *options)
        delivering = line.start("webhooks", "deliver")
        try:
            receiver.wait_for(1)
            line.create("bob")
            got = receiver.wait_for(3)
        finally:
            delivering.send_signal(signal.SIGINT)
            _, said = delivering.communicate(timeout=60)
    assert sorted(one.event for one in got) == [1, 2, 2]
    assert delivering.returncode in (0, 130)
    assert b"whsec_" not in said
    assert b"Traceback" not in said
