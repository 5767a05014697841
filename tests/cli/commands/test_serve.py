"""serve: settings, shown and refused. What it serves is tested in tests/server."""

from __future__ import annotations

import socket

import pytest

from tests.addresses import HOLDING_A_SECRET, UNREADABLE
from tests.cli.running import Line


def test_settings_are_shown_with_secrets_masked(line: Line) -> None:
    answer = line(
        "serve",
        "--show-config",
        "--json",
        "--port",
        "1234",
        SESSIONLEDGER_URL="postgresql://me:secret@db/x",
        SESSIONLEDGER_TTL="2h",
        SESSIONLEDGER_ACCESS_LOG="0",
        SESSIONLEDGER_KEY_REQUESTS_PER_MINUTE="none",
        SESSIONLEDGER_TRUSTED_PROXIES="10.0.0.0/8,::1 unix",
        SESSIONLEDGER_TRUSTED_ORIGINS="https://a.test, https://b.test:8443",
    )
    assert "secret" not in answer.out
    told = {record["setting"]: (record["value"], record["source"]) for record in answer.records}
    assert told["ledger"] == ("postgresql://db/x", "environment")
    assert told["port"] == (1234, "commandline")
    assert told["ttl"] == (7200.0, "environment")
    assert told["access_log"] == (False, "environment")
    origins = ["https://a.test", "https://b.test:8443"]
    assert told["trusted_origins"] == (origins, "environment")
    assert told["key_requests_per_minute"] == (None, "environment")
    assert told["trusted_proxies"] == (["10.0.0.0/8", "::1", "unix"], "environment")
    assert told["cross_site_cookies"] == (False, "default")
    assert told["host"] == ("127.0.0.1", "default")
    assert list(line.folder.iterdir()) == []


@pytest.mark.parametrize("address", [*HOLDING_A_SECRET, *UNREADABLE])
def test_no_spelling_of_a_password_is_shown(line: Line, address: str) -> None:
    answer = line("serve", "--show-config", "--json", SESSIONLEDGER_URL=address)
    (shown,) = [one["value"] for one in answer.records if one["setting"] == "ledger"]
    assert shown == ("***" if address in UNREADABLE else "postgresql://127.0.0.1:1/app")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("topic", "sessionledger.keys"),
        ("topic", "sessionledger.replays"),
        ("workers", "0"),
        ("cookie", "a b"),
        ("realm", 'a"b'),
        ("ttl", "x"),
        ("on-reuse", "shrug"),
        ("on-limit", "90s"),
        ("port", "x"),
        ("port", "-1"),
        ("port", "99999"),
        ("key-requests-per-minute", "0"),
        ("principal-requests-per-minute", "1000001"),
        ("address-requests-per-minute", "many"),
        ("writes-per-minute", "none"),
        ("writes-per-minute", "100001"),
        ("trusted-proxies", "10.0.0.1/8"),
        ("trusted-proxies", "0.0.0.0/0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(line: Line, name: str, value: str) -> None:
    answer = line("serve", f"--{name}", value)
    assert (answer.code, answer.out) == (2, "")
    assert name.replace("-", "_") in answer.err.replace("-", "_")
    assert list(line.folder.iterdir()) == []


def test_an_address_that_is_taken_is_said(line: Line) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = line("serve", "--port", str(port))
    assert answer.code == 4
    assert f"can't listen at 127.0.0.1:{port}: Address already in use; --host and" in answer.err
    assert list(line.folder.iterdir()) == []


def test_what_is_no_ledger_is_said(line: Line) -> None:
    (line.folder / "sessions.db").write_bytes(b"this is not a ledger" * 100)
    answer = line("serve", "--port", "0")
    assert answer.code == 4
    assert "is not a SQLite database" in answer.err
