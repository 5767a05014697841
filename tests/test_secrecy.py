"""What empties frames, by itself."""

from __future__ import annotations

import asyncio
from types import FunctionType, TracebackType
from typing import Any

import pytest

from sessionledger.secrecy import clear_locals, without_locals, without_tokens

TOKEN = "harn_sess_" + "x" * 43


def as_ours(call: Any) -> Any:
    """The same function, as if it were one of the package."""
    return FunctionType(call.__code__, call.__globals__ | {"__name__": "sessionledger.example"})


def held(trace: TracebackType | None) -> list[dict[str, Any]]:
    found = []
    while trace is not None:
        found.append(dict(trace.tb_frame.f_locals))
        trace = trace.tb_next
    return found


def failing(token: str) -> None:
    raise KeyError(len(token))


ours = as_ours(failing)


def raised(function: Any, token: str) -> Exception:
    with pytest.raises((KeyError, ExceptionGroup)) as caught:
        function(token)
    return caught.value


def test_frames_of_the_package_are_emptied_and_others_are_not() -> None:
    assert {} in held(raised(without_locals(ours), TOKEN).__traceback__)
    assert {"token": TOKEN} in held(raised(without_locals(failing), TOKEN).__traceback__)
    assert {"token": TOKEN} in held(raised(ours, TOKEN).__traceback__)


def test_the_arguments_are_forgotten_in_both_colours() -> None:
    async def awaited(token: str) -> None:
        ours(token)

    async_call = without_locals(as_ours(awaited))
    for call in (without_locals(ours), lambda token: asyncio.run(async_call(token))):
        wrappers = [one for one in held(raised(call, TOKEN).__traceback__) if "call" in one]
        assert wrappers
        assert not [one for one in wrappers if {"given", "named"} & one.keys()]


def test_causes_contexts_and_groups_are_emptied_too() -> None:
    def chained(token: str) -> None:
        try:
            ours(token)
        except KeyError as cause:
            try:
                ours(token)
            except KeyError:
                raise ExceptionGroup("several", [cause, raised(ours, token)]) from cause

    error = raised(without_locals(chained), TOKEN)
    assert isinstance(error, ExceptionGroup)
    for one in (error.__cause__, error.__context__, *error.exceptions):
        assert one is not None
        assert {} in held(one.__traceback__)


def test_frames_that_still_run_are_left_out_of_the_answer() -> None:
    def running(token: str) -> list[dict[str, Any]]:
        try:
            ours(token)
        except KeyError as error:
            return held(clear_locals(error))
        raise AssertionError

    assert as_ours(running)(TOKEN) == [{}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TOKEN, "harn_sess_..."),
        (f"a {TOKEN}!", "a harn_sess_...!"),
        (TOKEN[:-1], TOKEN[:-1]),
        (f"{TOKEN}{TOKEN}", "harn_sess_...harn_sess_..."),
        ("", ""),
    ],
)
def test_a_text_loses_what_looks_like_a_token(text: str, expected: str) -> None:
    assert without_tokens(text) == expected
