"""JSON Merge Patch: RFC 7396's own cases, and what holds for any."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import InvalidSession, Policy, Session, VersionConflict
from sessionledger.core.decide import Patch, decide_patch
from sessionledger.core.events import Touched
from sessionledger.core.fold import evolve
from sessionledger.core.parse import merged
from tests.sameness import same_json
from tests.strategies import HANDLE, START, json_objects, json_values, texts

HOUR = timedelta(hours=1)
SESSION = Session(HANDLE, "alice", START, START, START + HOUR, {"a": 1}, version=7)

# RFC 7396, appendix A: original, patch, result.
TEST_CASES = """
{"a":"b"}         {"a":"c"}            {"a":"c"}
{"a":"b"}         {"b":"c"}            {"a":"b","b":"c"}
{"a":"b"}         {"a":null}           {}
{"a":"b","b":"c"} {"a":null}           {"b":"c"}
{"a":["b"]}       {"a":"c"}            {"a":"c"}
{"a":"c"}         {"a":["b"]}          {"a":["b"]}
{"a":{"b":"c"}}   {"a":{"b":"d","c":null}} {"a":{"b":"d"}}
{"a":[{"b":"c"}]} {"a":[1]}            {"a":[1]}
["a","b"]         ["c","d"]            ["c","d"]
{"a":"b"}         ["c"]                ["c"]
{"a":"foo"}       null                 null
{"a":"foo"}       "bar"                "bar"
{"e":null}        {"a":1}              {"e":null,"a":1}
[1,2]             {"a":"b","c":null}   {"a":"b"}
{}                {"a":{"bb":{"ccc":null}}} {"a":{"bb":{}}}
"""

# RFC 7396, section 3.
DOCUMENT = {
    "title": "Goodbye!",
    "author": {"givenName": "John", "familyName": "Doe"},
    "tags": ["example", "sample"],
    "content": "This will be unchanged",
}
PATCH = {
    "title": "Hello!",
    "phoneNumber": "+01-123-456-7890",
    "author": {"familyName": None},
    "tags": ["example"],
}
PATCHED = {
    "title": "Hello!",
    "author": {"givenName": "John"},
    "tags": ["example"],
    "content": "This will be unchanged",
    "phoneNumber": "+01-123-456-7890",
}

without_null: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("case", TEST_CASES.strip().splitlines())
def test_the_cases_of_the_rfc(case: str) -> None:
    original, patch, result = map(json.loads, case.split())
    assert merged(original, patch) == result


def test_the_example_of_the_rfc() -> None:
    assert merged(DOCUMENT, PATCH) == PATCHED


@given(json_values, json_values)
def test_neither_side_is_changed(target: Any, patch: Any) -> None:
    before = deepcopy((target, patch))
    merged(target, patch)
    assert same_json(list(before), [target, patch])


@given(json_objects)
def test_an_empty_patch_changes_nothing(target: dict[str, Any]) -> None:
    assert same_json(merged(target, {}), target)


@given(json_values, without_null)
def test_patching_twice_is_patching_once(target: Any, patch: Any) -> None:
    once = merged(target, patch)
    assert same_json(merged(once, patch), once)


@given(json_objects, json_objects)
def test_a_patched_name_is_as_told_and_others_stay(
    target: dict[str, Any], patch: dict[str, Any]
) -> None:
    after = merged(target, patch)
    for name in target.keys() - patch.keys():
        assert same_json(after[name], target[name])
    for name, value in patch.items():
        if value is None:
            assert name not in after
        elif not isinstance(value, dict):
            assert same_json(after[name], value)


@given(json_objects, st.dictionaries(texts, without_null), st.dictionaries(texts, without_null))
def test_patches_of_different_names_may_come_in_any_order(
    target: dict[str, Any], one: dict[str, Any], two: dict[str, Any]
) -> None:
    two = {name: value for name, value in two.items() if name not in one}
    assert same_json(merged(merged(target, one), two), merged(merged(target, two), one))


def decided(changes: object, state: Session = SESSION, **more: Any) -> Touched | None:
    command = Patch(changes=changes, **more)
    return decide_patch(state, state.version, command, START, Policy())


def test_a_patch_is_a_touch_that_says_nothing_of_being_seen() -> None:
    event = decided({"b": 2})
    assert event == Touched(b'{"a":1,"b":2}', None, START, HANDLE)
    after = evolve(SESSION, event)
    assert isinstance(after, Session)
    assert (after.expires_at, after.last_seen_at) == (SESSION.expires_at, SESSION.last_seen_at)


@given(json_objects)
def test_a_patch_that_changes_nothing_is_nothing(attributes: dict[str, Any]) -> None:
    state = Session(HANDLE, "alice", START, START, START + HOUR, attributes)
    assert decided({}, state) is None
    assert decided({"not there at all": None}, state) is None


def test_a_version_that_is_not_the_session_s_tells_which_it_is() -> None:
    assert decided({"b": 1}, if_version=7) is not None
    with pytest.raises(VersionConflict) as caught:
        decided({"b": 1}, if_version=6)
    assert caught.value.current == 7
    with pytest.raises(VersionConflict):
        decided({}, if_version=6)


@pytest.mark.parametrize("version", [True, 1.0, "7"])
def test_a_version_is_a_whole_number(version: object) -> None:
    with pytest.raises(InvalidSession) as caught:
        decided({"b": 1}, if_version=version)
    assert caught.value.field == "if_version"


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def endless() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["a"] = value
    return value


@pytest.mark.parametrize(
    "changes",
    [
        *(None, [], "a", 7, {"a": {1, 2}}, {1: 2}, {"a": float("nan")}, {"a": "\ud800"}),
        *(nested(65), nested(5_000), nested(100_000), endless()),
    ],
    ids=lambda changes: type(changes).__name__,
)
def test_a_patch_that_can_t_be_is_refused(changes: object) -> None:
    with pytest.raises(InvalidSession) as caught:
        decided(changes)
    assert caught.value.field == "changes"


def test_what_is_deep_only_where_it_was_is_refused_as_attributes() -> None:
    """Each of the two is allowed; what they make together is too large."""
    half = {"a": "x" * 40_000}
    state = Session(HANDLE, "alice", START, START, START + HOUR, half)
    with pytest.raises(InvalidSession) as caught:
        decided({"b": "x" * 40_000}, state)
    assert caught.value.field == "attributes"


def test_nothing_happens_to_what_is_over() -> None:
    over = Session(HANDLE, "alice", START, START, START, {"a": 1})
    ended = Session(HANDLE, "alice", START, START, START + HOUR, {}, ended_at=START + HOUR)
    for state in (over, ended, None):
        command = Patch(changes={"b": 1}, if_version=99)
        assert decide_patch(state, 3, command, START, Policy()) is None
