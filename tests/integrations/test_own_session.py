"""The dictionary that applications see, as a dictionary."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from sessionledger.integrations.own_session.dictionary import SessionDict

READ: list[Callable[[SessionDict], Any]] = [
    dict,
    list,
    len,
    bool,
    repr,
    copy.copy,
    lambda session: {**session},
    lambda session: {"b": 2} | session,
    lambda session: session | {"b": 2},
    lambda session: session == {"a": 1},
    lambda session: session != {"a": 1},
    lambda session: "a" in session,
    lambda session: session["a"],
    lambda session: session.get("a"),
    lambda session: session.copy(),
    lambda session: list(session.items()),
    lambda session: list(session.values()),
    lambda session: list(reversed(session)),
    lambda session: session.setdefault("a", 2),
    lambda session: session.pop("b", None),
]
WRITTEN: list[Callable[[SessionDict], Any]] = [
    lambda session: session.__setitem__("b", 1),
    lambda session: session.__delitem__("a"),
    lambda session: session.update(b=1),
    lambda session: session.__ior__({"b": 1}),
    lambda session: session.setdefault("b", 1),
    lambda session: session.pop("a"),
    lambda session: session.popitem(),
    lambda session: session.clear(),
]


def unread() -> SessionDict:
    """A session that is read at the first look."""
    session = SessionDict()
    session.load = lambda: dict.update(session, a=1)
    return session


@pytest.mark.parametrize("number", range(len(READ)))
def test_a_look_reads_the_session_first_and_changes_nothing(number: int) -> None:
    session = unread()
    assert READ[number](session) == READ[number](SessionDict({"a": 1}))
    assert (session.accessed, session.modified, session.load) == (True, False, None)


@pytest.mark.parametrize("number", range(len(WRITTEN)))
def test_a_change_reads_the_session_first_and_is_noted(number: int) -> None:
    session, plain = unread(), SessionDict({"a": 1})
    WRITTEN[number](session)
    WRITTEN[number](plain)
    assert session == plain
    assert (session.accessed, session.modified, session.load) == (True, True, None)


def test_a_session_that_could_not_be_read_is_not_taken_for_an_empty_one() -> None:
    def away() -> None:
        raise OSError

    session = SessionDict()
    session.load = away
    for _ in range(2):
        with pytest.raises(OSError):
            session.update(a=1)
    assert not session.modified


def test_clearing_logs_out() -> None:
    session = unread()
    session.log_in("alice")
    assert session.principal == "alice"
    session.clear()
    assert not session.is_log_in
    assert session.owner is None
