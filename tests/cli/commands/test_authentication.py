"""The commands about who bears a session."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from sessionledger import SessionStore
from tests.cli.commands.test_sessions import TOKEN, UNKNOWN
from tests.cli.running import Line


def long_ago(line: Line, age: timedelta) -> SessionStore:
    """A store on the same ledger, whose clock is slow by so much."""
    url = f"sqlite:///{line.folder / 'sessions.db'}"
    return SessionStore.open(url, clock=lambda: datetime.now(UTC) - age)


def test_authenticate_records_a_sighting_only_when_it_is_due(line: Line) -> None:
    with long_ago(line, timedelta(hours=1)) as store:
        token = store.create("alice").token
    assert line("authenticate", "--context", "device=phone", given=token).row[8] == "2"
    again = line("authenticate", "--json", given=token).record
    assert (again["version"], again["context"]) == (2, {"device": "phone"})


def test_an_old_proof_is_a_no_until_it_is_renewed(line: Line) -> None:
    with long_ago(line, timedelta(hours=1)) as store:
        issued = store.create("alice")
        token, handle = issued.token, issued.handle
    assert line("authenticate", "--max-auth-age", "2h", given=token).code == 0
    refused = line("authenticate", "--max-auth-age", "5m", "--json", given=token)
    assert (refused.code, refused.out) == (1, "")
    assert json.loads(refused.err)["error"] == "reauthentication_required"
    assert line("reauthenticate", "--handle", handle).code == 0
    proved = line("reauthenticate", "--reason", "passkey", "--json", given=token).record
    assert proved["authenticated_at"] > proved["created_at"]
    assert line("authenticate", "--max-auth-age", "5m", given=token).code == 0
    assert line("history", "--principal", "alice").rows[-1][4] == "passkey"


@pytest.mark.parametrize("command", ["authenticate", "reauthenticate", "rotate"])
def test_an_unknown_token_is_a_no(line: Line, command: str) -> None:
    line.create()
    answer = line(command, given=TOKEN)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err == "error: no live session has that token\n"


def test_what_is_no_token_does_not_authenticate(line: Line) -> None:
    line.create()
    assert line("authenticate", given="garbage").code == 1
    assert line("reauthenticate", given="garbage").code == 2
    assert line("rotate", given="garbage").code == 2


def test_patch_by_token_and_by_handle(line: Line) -> None:
    token, handle = line.create("alice", "--attributes", '{"basket":[1],"theme":"light"}')
    patched = line("patch", '{"basket":null,"lang":"de"}', "--json", given=token).record
    assert patched["attributes"] == {"theme": "light", "lang": "de"}
    (line.folder / "dark.json").write_text('{"theme":"dark"}')
    patched = line("patch", "@dark.json", "--handle", handle, "--actor", "bob", "--json").record
    assert patched["attributes"] == {"theme": "dark", "lang": "de"}
    assert line("history", "--handle", handle).rows[-1][5] == "bob"
    assert line("patch", "{}", "--handle", UNKNOWN).code == 1


def test_patch_of_another_version_is_refused(line: Line) -> None:
    token, _ = line.create()
    assert line("patch", '{"a":1}', "--if-version", "1", given=token).code == 0
    refused = line("patch", '{"a":2}', "--if-version", "1", "--json", given=token)
    assert (refused.code, refused.out) == (3, "")
    assert json.loads(refused.err)["error"] == "version_conflict"
    assert line("get", given=token).row[9] == '{"a":1}'


@pytest.mark.parametrize(
    "arguments", [[], ["[1]"], ["{"], ["@missing.json"], ["{}", "--if-version", "x"]]
)
def test_bad_input_to_patch(line: Line, arguments: list[str]) -> None:
    token, _ = line.create()
    answer = line("patch", *arguments, given=token)
    assert (answer.code, answer.out) == (2, "")


def test_rotate_prints_the_new_token_alone(line: Line) -> None:
    old, _ = line.create("alice")
    answer = line("rotate", given=old)
    assert answer.err == ""
    (new,) = answer.out.splitlines()
    assert new.startswith("harn_sess_")
    assert new != old
    assert line("authenticate", given=old).code == 0, "within its grace"
    session = line("get", "--json", given=new).record
    assert session["family"] == line("get", given=old).row[0]


def test_login_rotates_to_another_principal(line: Line) -> None:
    old, _ = line.create("anonymous:", "--attributes", '{"basket":[1],"greeting":"hello"}')
    assert line("get", given=old).row[1].startswith("anonymous:")
    options = ["--principal", "alice", "--changes", '{"greeting":null,"role":"buyer"}']
    issued = line("rotate", *options, "--grace", "0s", "--json", given=old).record
    assert issued["principal"] == "alice"
    assert issued["attributes"] == {"basket": [1], "role": "buyer"}
    assert len(line("history", "--handle", issued["handle"], "--json").records) == 1
    assert line("authenticate", given=old).code == 1
    assert line("get", given=issued["token"]).code == 0


def test_reuse_ends_the_family_and_says_why(line: Line) -> None:
    old, _ = line.create("alice")
    new = line("rotate", "--grace", "0s", given=old).out
    assert line("get", given=old).code == 1
    assert line("get", given=new).code == 0, "get never writes"
    assert line("authenticate", given=old).code == 1
    assert line("authenticate", given=new).code == 1
    assert line("history", "--principal", "alice").rows[-1][10] == "reused"


def test_a_token_has_only_so_many_successors(line: Line) -> None:
    old, _ = line.create("alice")
    codes = [line("rotate", "--grace", "1h", given=old).code for _ in range(9)]
    assert codes == [0] * 8 + [3]


def test_bad_input_to_rotate(line: Line) -> None:
    token, _ = line.create()
    for options in (["--grace", "x"], ["--grace", "0"], ["--principal", " "]):
        assert line("rotate", *options, given=token).code == 2
    assert line("get", given=token).code == 0
