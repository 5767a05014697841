"""keys: made, listed and revoked."""

from __future__ import annotations

import json

import pytest

from sessionledger import SessionLimitReached, SessionStore
from sessionledger.server.service.keys import KEY_POLICY, SCOPES, new_key
from sessionledger.server.settings import KEYS_TOPIC
from sessionledger.testing.fixtures import concurrently
from tests.cli.running import Line
from tests.cli.screen import Screen

INTROSPECT = ("--scope", "introspect")


def made(line: Line, name: str, *options: str, given: str = "") -> tuple[str, str]:
    """A new key, and its handle."""
    answer = line("keys", "create", name, *options, "--json", given=given)
    assert answer.code == 0, answer.err
    return answer.record["key"], answer.record["handle"]


def test_a_key_is_printed_once_and_listed_without_itself(line: Line) -> None:
    key = line("keys", "create", "api", *INTROSPECT, "--ttl", "30d").out.strip()
    assert key.startswith("harn_sess_")
    listed = line("keys", "list", "--json")
    assert key not in listed.out
    told = listed.record
    assert (told["name"], told["scopes"], told["state"]) == ("api", ["introspect"], "live")


def test_a_table_shows_every_scope_by_its_name(line: Line, screen: Screen) -> None:
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    made(line, "top", *scopes)
    seen = screen("keys", "list", COLUMNS="400")
    assert " ".join(sorted(SCOPES)) in seen
    assert line("keys", "list").row[1] == json.dumps(sorted(SCOPES), separators=(",", ":"))


def test_keys_are_no_sessions(line: Line) -> None:
    _, handle = made(line, "api", *INTROSPECT)
    assert line("sessions", "--state", "all").out == ""
    assert line("get", "--handle", handle).code == 1


def test_a_key_is_revoked(line: Line) -> None:
    key, handle = made(line, "api", *INTROSPECT)
    assert line("keys", "revoke", "--handle", handle, "--reason", "lost").code == 0
    assert line("keys", "list").out == ""
    assert line("keys", "list", "--all", "--json").record["state"] == "ended"
    told = line("keys", "create", "sub", *INTROSPECT, "--by-key", "--json", given=key)
    assert (told.code, told.out, json.loads(told.err)["error"]) == (1, "", "not_live")
    assert line("keys", "revoke", "--handle", "sha256:v1:" + "0" * 64).code == 1


def test_a_key_makes_only_keys_that_do_no_more(line: Line) -> None:
    key, handle = made(line, "top", *INTROSPECT, "--scope", "sessions:read")
    _, below = made(line, "below", *INTROSPECT, "--by-key", given=key)
    more = line("keys", "create", "more", "--scope", "sessions:create", "--by-key", given=key)
    assert more.code == 2
    assert "without sessions:create" in more.err
    told = {r["name"]: r for r in line("keys", "list", "--json").records}
    assert (told["below"]["parent"], told["top"]["parent"]) == (handle, None)
    history = line("history", "--handle", below, "--topic", "sessionledger.keys", "--json")
    assert history.record["actor"] == "top"


def test_a_key_ends_with_the_one_that_it_was_made_with(line: Line, screen: Screen) -> None:
    top, handle = made(line, "top", *INTROSPECT)
    below, _ = made(line, "below", *INTROSPECT, "--by-key", given=top)
    made(line, "lowest", *INTROSPECT, "--by-key", given=below)
    made(line, "other", *INTROSPECT)
    tree = {key["name"]: key["depth"] for key in line("keys", "list", "--tree", "--json").records}
    assert tree == {"top": 0, "below": 1, "lowest": 2, "other": 0}
    assert "".join(tree).replace("other", "") == "topbelowlowest"
    assert "  └ lowest" in screen("keys", "list", "--tree", COLUMNS="300")
    assert line("keys", "revoke", "--handle", handle).code == 0
    assert [key["name"] for key in line("keys", "list", "--json").records] == ["other"]
    assert line("verify", "--topic", KEYS_TOPIC).code == 0
    made(line, "below", *INTROSPECT)


def test_a_key_has_eight_above_it_at_most(line: Line) -> None:
    key, _ = made(line, "key-0", *INTROSPECT)
    for depth in range(1, 9):
        key, _ = made(line, f"key-{depth}", *INTROSPECT, "--by-key", given=key)
    told = line("keys", "create", "one-more", *INTROSPECT, "--by-key", "--json", given=key)
    assert (told.code, told.out) == (3, "")
    assert json.loads(told.err) == {
        "error": "session_limit_reached",
        "message": "the child would have 9 sessions above it; 8 are allowed",
    }


def test_a_key_of_an_older_version_makes_no_others(line: Line) -> None:
    attributes = {"scopes": ["introspect"], "ancestors": []}
    with SessionStore.open(f"sqlite:///{line.folder / 'sessions.db'}", topic=KEYS_TOPIC) as keys:
        old = keys.create("old", attributes=attributes)
    assert line("keys", "list", "--json").record["scopes"] == ["introspect"]
    told = line("keys", "create", "sub", *INTROSPECT, "--by-key", "--json", given=old.token)
    assert (told.code, told.out, json.loads(told.err)["error"]) == (3, "", "old_key")
    assert line("keys", "revoke", "--handle", old.handle).code == 0


def test_the_history_of_a_key_says_who_made_it(line: Line) -> None:
    made_by = {"SESSIONLEDGER_ACTOR": "ops"}
    key = line("keys", "create", "api", *INTROSPECT, **made_by).out
    line("keys", "create", "sub", *INTROSPECT, "--by-key", given=key, **made_by)
    line("keys", "create", "other", *INTROSPECT, "--actor", "security", **made_by)
    told = {
        name: line("history", "--principal", name, "--topic", KEYS_TOPIC, "--json").records[0][
            "actor"
        ]
        for name in ("api", "sub", "other")
    }
    assert told == {"api": "ops", "sub": "api", "other": "security"}


def test_a_live_key_s_name_is_its_own(line: Line) -> None:
    _, handle = made(line, "api", *INTROSPECT)
    again = line("keys", "create", "api", *INTROSPECT, "--json")
    assert (again.code, again.out) == (3, "")
    assert json.loads(again.err)["error"] == "name_taken"
    assert line("keys", "revoke", "--handle", handle).code == 0
    key, _ = made(line, "api", *INTROSPECT)
    states = [key["state"] for key in line("keys", "list", "--all", "--json").records]
    assert sorted(states) == ["ended", "live"]
    below = line("keys", "create", "api", *INTROSPECT, "--by-key", "--json", given=key)
    assert (below.code, json.loads(below.err)["error"]) == (3, "name_taken")


def test_of_many_that_make_a_key_of_one_name_at_once_one_does(line: Line) -> None:
    url = f"sqlite:///{line.folder / 'sessions.db'}"

    def make() -> bool:
        with SessionStore.open(url, topic=KEYS_TOPIC, policy=KEY_POLICY) as keys:
            try:
                keys.create("api", attributes=new_key("api", ["introspect"], None))
            except SessionLimitReached:
                return False
            return True

    assert sorted(concurrently(*[make] * 6)) == [False] * 5 + [True]
    assert line("keys", "create", "api", *INTROSPECT).code == 3


@pytest.mark.parametrize("options", [("a b", *INTROSPECT), ("a", "--scope", "everything"), ("a",)])
def test_a_key_that_makes_no_sense_is_refused(line: Line, options: tuple[str, ...]) -> None:
    answer = line("keys", "create", *options)
    assert (answer.code, answer.out) == (2, "")


def test_keys_are_listed_in_pages(line: Line) -> None:
    for name in ("a", "b", "c"):
        line("keys", "create", name, "--scope", "introspect")
    whole = line("keys", "list").out.splitlines()
    first = line("keys", "list", "--limit", "2")
    cursor = first.err.removeprefix("more: --after ").strip()
    rest = line("keys", "list", "--limit", "2", "--after", cursor)
    assert (first.out + rest.out).splitlines() == whole
    assert rest.err == ""
    assert line("keys", "list", "--tree", "--limit", "1").code == 2
