"""The commands about one session."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.running import Line

TOKEN = "a-token-that-the-caller-has-chosen-1234567890"
UNKNOWN = "sha256:v1:" + "0" * 64


def test_create_prints_the_token_alone(line: Line) -> None:
    answer = line("create", "alice")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("harn_sess_")
    assert len(answer.out.splitlines()) == 1


def test_the_same_in_processes_of_their_own(line: Line) -> None:
    created = line.process("create", "alice")
    assert (created.code, created.err) == (0, "")
    assert line.process("expire", given=created.out).row[2] == "ended"
    refused = line.process("get", given=created.out)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "error: no live session has that token\n"


def test_create_with_everything(line: Line) -> None:
    (line.folder / "role.json").write_text('{"role": "operator"}')
    options = ["--expires-at", "2999-01-01T00:00:00+02:00", "--attributes", "@role.json"]
    options += ["--reason", "sign-in", "--actor", "idp", "--context", "a=1", "--context", "b=2=3"]
    token, handle = line.create("alice", *options)
    session = line("get", "--json", given=token).record
    assert session["expires_at"] == "2998-12-31T22:00:00.000000Z"
    assert session["attributes"] == {"role": "operator"}
    (entry,) = line("history", "--handle", handle, "--json").records
    assert (entry["reason"], entry["actor"]) == ("sign-in", "idp")
    assert entry["context"] == {"a": "1", "b": "2=3"}


def test_a_token_of_the_callers_own(line: Line) -> None:
    assert line("create", "alice", "--token-stdin", given=TOKEN + "\n").out == TOKEN + "\n"
    again = line("create", "bob", "--token-stdin", "--json", given=TOKEN)
    assert again.code == 3
    assert json.loads(again.err)["error"] == "duplicate_session"
    assert TOKEN not in again.err


def test_the_token_comes_from_the_input_or_the_environment(line: Line) -> None:
    token, handle = line.create()
    assert line("get", given=token + "\n").row[0] == handle
    assert line("get", SESSIONLEDGER_TOKEN=token).row[0] == handle
    assert line("get", given="something else entirely", SESSIONLEDGER_TOKEN=token).code == 0


def test_get_by_handle(line: Line) -> None:
    _, handle = line.create()
    assert line("get", "--handle", handle).row[1] == "alice"
    assert line("get", "--handle", UNKNOWN).code == 1


def test_touch_slides_up_to_the_deadline(line: Line) -> None:
    token, _ = line.create("alice", "--ttl", "1h", "--idle-timeout", "10m")
    touched = line("touch", "--ttl", "30d", "--json", given=token).record
    assert touched["expires_at"] == touched["deadline"]
    assert touched["version"] == 2


def test_touch_replaces_attributes(line: Line) -> None:
    token, _ = line.create("alice", "--attributes", '{"a":1}')
    touched = line("touch", "--attributes", '{"b":123456789012345678901234567890}', given=token)
    assert touched.row[9] == '{"b":123456789012345678901234567890}'


def test_touch_and_patch_take_a_handle_and_an_end(line: Line) -> None:
    token, _ = line.create("alice", "--expires-at", "never")
    handle = line("get", "--json", given=token).record["handle"]
    never = line("get", "--json", given=token).record["expires_at"]
    assert never.startswith("9999-12-31T00:00:00")
    touched = line("touch", "--handle", handle, "--ttl", "1h", "--json").record
    assert touched["expires_at"] != never
    patched = line("patch", '{"a":1}', "--handle", handle, "--expires-at", "never", "--json").record
    assert (patched["expires_at"], patched["attributes"]) == (never, {"a": 1})
    assert patched["version"] == touched["version"] + 1
    assert line("touch", "--handle", handle, "--ttl", "0s", "--json").record["state"] == "ended"
    assert line("touch", "--handle", handle).code == 1
    assert line("create", "bob", "--ttl", "0s").code == 2


def test_find_or_create_begins_a_session_once(line: Line) -> None:
    asked = ("find-or-create", "alice", "cart")
    begun = line(*asked, "--ttl", "1h", "--attributes", '{"a":1}', "--reason", "first")
    assert (begun.code, begun.err) == (0, "")
    assert begun.out.startswith("harn_sess_"), "in a pipe the token stands alone"
    handle = line("get", given=begun.out).row[0]
    found = line(*asked, "--attributes", '{"a":2}')
    assert (found.code, found.err, found.row[0]) == (0, "", handle)
    assert "harn_sess_" not in found.out
    told = line(*asked, "--json").record
    assert (told["external_id"], told["attributes"]) == ("cart", {"a": 1})
    assert "token" not in told
    assert line("find-or-create", "bob", "cart", "--json").record["token"]
    line("revoke", "--handle", handle)
    assert line(*asked, "--idle-timeout", "10m", "--json").record["idle_timeout"] == 600
    assert line("find-or-create", "alice").code == 2
    refused = line("find-or-create", "anonymous:", "cart")
    assert (refused.code, refused.out) == (2, "")


def test_expire_is_for_good(line: Line) -> None:
    token, _ = line.create()
    first = line("expire", given=token)
    assert (first.code, first.row[2]) == (0, "ended")
    assert line("expire", given=token).row == first.row
    assert line("touch", given=token).code == 1
    assert line("get", given=token).err == "error: no live session has that token\n"


def test_revoke(line: Line) -> None:
    token, handle = line.create()
    assert line("revoke", "--handle", handle, "--json").record["state"] == "ended"
    refused = line("get", "--json", given=token)
    assert (refused.code, refused.out) == (1, "")
    assert json.loads(refused.err)["error"] == "not_live"
    assert line("revoke", "--handle", UNKNOWN).code == 1


@pytest.mark.parametrize("command", ["get", "touch", "expire"])
def test_an_unknown_token_is_a_no(line: Line, command: str) -> None:
    line.create()
    assert line(command, given=TOKEN).code == 1


@pytest.mark.parametrize("command", ["get", "touch", "expire"])
@pytest.mark.parametrize("given", ["", "\n", "short\n", b"\xff" * 40, UNKNOWN])
def test_what_is_no_token_is_bad_input(line: Line, command: str, given: str | bytes) -> None:
    line.create()
    answer = line(command, given=given)
    assert answer.code == 2
    assert "token" in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "options",
    [
        [" "],
        ["a\nb"],
        ["a", "--ttl", "5x"],
        ["a", "--ttl", "1h", "--expires-at", "2999-01-01T00:00:00Z"],
        ["a", "--expires-at", "2999-01-01T00:00:00"],
        ["a", "--expires-at", "1999-01-01T00:00:00Z"],
        ["a", "--expires-at", "tomorrow"],
        ["a", "--attributes", "[1]"],
        ["a", "--attributes", "{"],
        ["a", "--attributes", "@missing.json"],
        ["a", "--context", "no-equals-sign"],
        ["a", "--absolute-timeout", "0s"],
        ["a", "--external-id", " "],
        ["a", "--max-sessions", "0"],
        ["a", "--evict-oldest"],
        ["a", "--topic", "no/topic"],
        ["a", "--ledger", "ftp://x"],
        ["a", "b"],
        ["a", "--token", "x"],
        [],
    ],
)
def test_bad_input_to_create(line: Line, options: list[str]) -> None:
    answer = line("create", *options)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["get"],
        ["touch"],
        ["expire"],
        ["get", "--handle", UNKNOWN],
        ["revoke", "--handle", UNKNOWN],
        ["authenticate"],
        ["rotate"],
        ["revoke-all", "--principal", "alice"],
        ["sweep"],
        ["watch"],
        ["sessions"],
        ["history", "--handle", UNKNOWN],
        ["events"],
        ["head"],
        ["verify"],
        ["rebuild"],
        ["stats"],
    ],
)
def test_only_create_makes_a_ledger(line: Line, arguments: list[str]) -> None:
    answer = line(*arguments, given=TOKEN)
    assert answer.code == 4
    assert "there is no ledger at sessions.db" in answer.err
    assert list(line.folder.iterdir()) == []


def test_a_ledger_by_path_by_url_and_by_variable(line: Line, tmp_path: Path) -> None:
    path = str(tmp_path / "odd name #1?.db")
    token = line("create", "alice", "-l", path).out
    assert Path(path).exists()
    assert line("get", SESSIONLEDGER_URL=path, given=token).code == 0
    url = "sqlite:///" + path.replace(" ", "%20").replace("#", "%23").replace("?", "%3F")
    assert line("get", "--ledger", url, given=token).code == 0


def test_what_is_no_ledger(line: Line) -> None:
    (line.folder / "sessions.db").write_bytes(b"this is no database, it is a text" * 100)
    answer = line("sessions", "--json")
    assert answer.code == 4
    assert json.loads(answer.err)["error"] == "not_a_ledger"


def test_a_child_ends_with_its_parent(line: Line) -> None:
    token, handle = line.create("alice", "--attributes", '{"scope": "a b"}')
    child, _ = line.create("bot", "--parent", handle, "--attributes", '{"scope": "b"}')
    assert line("get", "--json", given=child).record["parent"] == handle
    wider = line("create", "bot", "--parent", handle, "--attributes", '{"scope": "c"}')
    assert wider.code != 0
    by_token = line("create", "bot", "--parent", token)
    assert by_token.code == 2
    assert token not in by_token.err
    assert line("revoke", "--handle", handle).code == 0
    assert line("get", given=child).code == 1


@pytest.mark.parametrize(
    ("wrong", "code", "error", "says"),
    [
        *(
            (wrong, 2, "invalid_session", "parent must be a live session of this ledger")
            for wrong in ("ended", "in another topic", "an admin key", "unknown")
        ),
        ("itself", 3, "duplicate_session", "was created before"),
        ("below it", 3, "duplicate_session", "was created before"),
        ("no handle", 2, "usage", "--parent: "),
        ("wider", 2, "invalid_session", "must be the parent's, or fewer: 'scope' is not"),
    ],
)
def test_no_child_is_begun_where_none_can_be(
    line: Line, wrong: str, code: int, error: str, says: str
) -> None:
    token, handle = line.create("alice", "--attributes", '{"scope": "a b"}')
    _, below = line.create("bot", "--parent", handle)
    _, ended = line.create("ended")
    line("revoke", "--handle", ended)
    _, elsewhere = line.create("bob", "--topic", "elsewhere")
    key = line("keys", "create", "key", "--scope", "introspect", "--json").record["handle"]
    options = {
        "ended": ("--parent", ended),
        "in another topic": ("--parent", elsewhere),
        "an admin key": ("--parent", key),
        "unknown": ("--parent", UNKNOWN),
        "itself": ("--token-stdin", "--parent", handle),
        "below it": ("--token-stdin", "--parent", below),
        "no handle": ("--parent", "sha256:v1:7"),
        "wider": ("--parent", handle, "--attributes", '{"scope": "a c"}'),
    }[wrong]
    before = line("head").out
    answer = line("create", "child", *options, "--json", given=token)
    told = json.loads(answer.err)
    assert (answer.code, answer.out, told["error"]) == (code, "", error)
    assert says in told["message"]
    assert token not in answer.err
    assert line("head").out == before


def test_the_actor_comes_from_the_environment(line: Line) -> None:
    _, handle = line.create()
    assert line("revoke", "--handle", handle, SESSIONLEDGER_ACTOR="ops").code == 0
    assert line("history", "--handle", handle, "--json").records[-1]["actor"] == "ops"
