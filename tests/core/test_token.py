"""Tokens, their handles, and what is trimmed from them."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import InvalidSession, Policy
from sessionledger.core.token import (
    WHITE_SPACE,
    digest,
    handle_of,
    issue,
    key_of,
    parse_handle,
    parse_token,
)
from tests.strategies import tokens

POLICY = Policy()
TOKEN = "harn_sess_" + "x" * 43

# PropList-15.0: White_Space, written out apart from the source that is tested.
UNICODE_WHITE_SPACE = {
    *range(0x09, 0x0E),
    0x20,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
}

VECTORS = [
    (
        "\r\u205f\x1exaR7kQfWv52uvEgoqiXnLAC1lIAYJRf \x85\u2000",
        "sha256:v1:ef9b21d4ef4740a2a6d9934698bd26a9ee4f75454f191a11faf9eef038d76ad9",
    ),
    (
        "TBZNKtHWDpJ1MZ_Em84D\x009x8LjF-8Wgdz0-PUw2cC",
        "sha256:v1:856bcea12ee20ead17b5099884082792c8b9f620ae948630313fc168b4e59640",
    ),
    (
        "\"\\/\u2028'TKEHTf9NYHCoAW_Gt4bvkjI83UeH8OcFBS3xw8zq",
        "sha256:v1:fa50e820620c0f774c1f897df9a145d58040b44359fb3f5a42afacc9a8a4873c",
    ),
    (
        "5U_q1PdqV2Njiq4I6R-ppNl-1_u_6g\u200b\x1f",
        "sha256:v1:20be98ade183404682238c70cceb0c70fd048ec0b1f8618b68275cf8be3ac71f",
    ),
    (
        "e\u0301" * 16,
        "sha256:v1:f0e29ad54f4fc72b19ef2d3aa879e39ce5dceeddd1a9108f2ca48de2395c31f6",
    ),
]


@pytest.mark.parametrize(("token", "handle"), VECTORS)
def test_handles_are_the_reference_s(token: str, handle: str) -> None:
    assert handle_of(digest(parse_token(token, Policy.reference()))) == handle


def test_exactly_unicode_s_white_space_is_trimmed() -> None:
    surrogates = range(0xD800, 0xE000)
    trimmed = {
        point
        for point in range(sys.maxunicode + 1)
        if point not in surrogates and parse_token(chr(point) + TOKEN, POLICY) == TOKEN
    }
    assert trimmed == UNICODE_WHITE_SPACE == set(map(ord, WHITE_SPACE))


@given(tokens, st.text(WHITE_SPACE, max_size=3), st.text(WHITE_SPACE, max_size=3))
def test_a_token_names_the_same_session_however_it_is_padded(
    token: str, before: str, after: str
) -> None:
    assert parse_token(before + token + after, POLICY) == token


@given(st.binary(min_size=32, max_size=32))
def test_a_handle_and_its_key_name_each_other(key: bytes) -> None:
    assert key_of(handle_of(key)) == key == parse_handle(handle_of(key))


@given(st.binary(min_size=32, max_size=32))
def test_an_issued_token_is_url_safe_and_can_be_taken(random: bytes) -> None:
    token = issue(random)
    assert re.fullmatch(r"harn_sess_[A-Za-z0-9_-]{43}", token)
    assert parse_token(token, POLICY) == token


@pytest.mark.parametrize(
    "token",
    [
        "",
        "  \t ",
        "x" * 31,
        "x" * 513,
        "sha256:v1:" + "0" * 64,
        "sha256:v1:" + "x" * 40,
        None,
        b"x" * 40,
        40,
    ],
)
def test_what_can_t_be_a_token_is_refused(token: object) -> None:
    with pytest.raises(InvalidSession) as caught:
        parse_token(token, POLICY)
    assert caught.value.field == "token"


def test_a_token_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidSession, match="surrogate") as caught:
        digest("\ud800" * 32)
    assert caught.value.field == "token"


@pytest.mark.parametrize("length", [32, 512])
def test_the_limits_themselves_are_taken(length: int) -> None:
    assert len(parse_token("x" * length, POLICY)) == length


@given(st.text(st.characters(), min_size=1, max_size=600))
def test_no_refusal_holds_what_was_refused(text: str) -> None:
    secret = "S3CR3T" + text
    with pytest.raises(InvalidSession) as caught:
        digest(parse_token(secret[:31], POLICY))
    assert "S3CR3T" not in f"{caught.value} {caught.value!r} {caught.value.args}"
    with pytest.raises(InvalidSession) as caught:
        parse_handle(secret)
    assert "S3CR3T" not in f"{caught.value} {caught.value!r} {caught.value.args}"


@pytest.mark.parametrize(
    "handle",
    [
        "",
        TOKEN,
        "sha256:v1:" + "0" * 63,
        "sha256:v1:" + "0" * 65,
        "sha256:v1:" + "A" * 64,
        "sha256:v2:" + "0" * 64,
        "sha256:v1:" + "\u0660" * 64,
        None,
        7,
    ],
)
def test_what_can_t_be_a_handle_is_refused(handle: object) -> None:
    with pytest.raises(InvalidSession) as caught:
        parse_handle(handle)
    assert caught.value.field == "handle"
