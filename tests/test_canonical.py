"""The one JSON text of a value."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import canonical
from tests.sameness import same_json
from tests.strategies import json_values, texts


@given(json_values)
def test_a_value_survives_its_text_exactly(value: Any) -> None:
    assert same_json(canonical.decode(canonical.encode(value)), value)


@given(json_values)
def test_the_text_of_a_text_s_value_is_the_text(value: Any) -> None:
    text = canonical.encode(value)
    assert canonical.encode(canonical.decode(text)) == text


@given(st.dictionaries(texts, st.integers(0, 9)))
def test_keys_are_sorted_by_their_bytes(value: dict[str, int]) -> None:
    keys = list(canonical.decode(canonical.encode(value)))
    assert keys == sorted(value, key=lambda key: key.encode())


@given(st.dictionaries(texts, json_values, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_insertion_does_not_show(value: dict[str, Any], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical.encode(dict(items)) == canonical.encode(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e16, b"1e+16"),
        (-1e16, b"-1e+16"),
        (1.5e300, b"1.5e+300"),
        (9999999999999998.0, b"9999999999999998.0"),
        (1e15, b"1000000000000000.0"),
        (1.5e-7, b"1.5e-7"),
        (1e-5, b"0.00001"),
        (1.25e-5, b"0.0000125"),
        (5e-324, b"5e-324"),
        (-0.0, b"-0.0"),
        (1.0, b"1.0"),
        (2**64, b"18446744073709551616"),
        (-(2**200), str(-(2**200)).encode()),
        (True, b"true"),
        (None, b"null"),
        ("\x7f\u2028é\n\x00", '"\x7f\u2028é\\n\\u0000"'.encode()),
        ({"b": 1, "a": [1, {"d": 2, "c": 3}]}, b'{"a":[1,{"c":3,"d":2}],"b":1}'),
        ((1, 2), b"[1,2]"),
    ],
)
def test_the_reference_s_notation(value: Any, text: bytes) -> None:
    assert canonical.encode(value) == text


class _Colour(IntEnum):
    RED = 7


class _Role(StrEnum):
    ADMIN = "admin"


def test_subclasses_count_as_what_they_extend() -> None:
    value = UserDict({_Role.ADMIN: _Colour.RED, "later": OrderedDict(a=1)})
    assert canonical.encode(value) == b'{"admin":7,"later":{"a":1}}'


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "NaN"),
        (float("inf"), "infinity"),
        ({"deep": [-float("inf")]}, "infinity"),
        ("\ud800", "surrogate"),
        ({"\udfff": 1}, "surrogate"),
        ({1: "one"}, "not text"),
        ({None: "none"}, "not text"),
        (UserDict({1: 2}), "not text"),
        (object(), "object"),
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
    ],
)
def test_what_json_does_not_have_is_refused(value: Any, why: str) -> None:
    with pytest.raises(canonical.NotJSON, match=why):
        canonical.encode(value)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    return value


@given(st.integers(0, 40), st.integers(0, 40))
def test_depth_is_counted_in_objects_and_arrays(depth: int, allowed: int) -> None:
    if depth <= allowed:
        assert canonical.decode(canonical.encode(nested(depth), max_depth=allowed)) == nested(depth)
    else:
        with pytest.raises(canonical.NotJSON, match="deeper than allowed"):
            canonical.encode(nested(depth), max_depth=allowed)


def test_nesting_without_end_is_refused_and_does_not_crash() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(canonical.NotJSON, match="too deep"):
        canonical.encode(endless)


@pytest.mark.parametrize("text", [b"", b"{", b"nul", b"1e400", b'"\xff"', b"[" * 100_000])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(canonical.NotJSON, match="can't be read"):
        canonical.decode(text)


@pytest.mark.parametrize("most", [10**4300 - 1, -(10**4299 - 1)])
def test_integers_are_written_as_far_as_they_can_be_read(most: int) -> None:
    assert canonical.decode(canonical.encode({"n": most, "text": "-" + "1" * 5000}))["n"] == most
    further = most + 1 if most > 0 else most - 1
    with pytest.raises(canonical.NotJSON, match="digits"):
        canonical.encode({"n": further})


@pytest.mark.parametrize("quoted", [b'\\"', b"\\\\\\", b"[\\"])
def test_a_string_that_never_ends_is_read_once(quoted: bytes) -> None:
    # Each of its quotes begins another search to the end, unless the first one takes it all.
    torn = b"[" * 201 + b'"' + quoted * 1_000_000
    assert canonical.nests_deeper(torn, 200)
    assert not canonical.nests_deeper(torn, 201 + 1_000_000 * quoted.count(b"["))
    assert not canonical.nests_deeper(torn, 201)


@given(st.lists(st.sampled_from([b"a", b"[", b"{", b'\\"', b"\\\\", b"\\n", "é".encode()])))
def test_brackets_within_a_string_nest_nothing(pieces: list[bytes]) -> None:
    text = b'[{"k":"' + b"".join(pieces) + b'"}]'
    assert canonical.nests_deeper(text, 1)
    assert not canonical.nests_deeper(text, 2)
    assert not canonical.nests_deeper(text[:-3], 2)
