"""Session and IssuedSession: what they say, and what they never say."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from sessionledger import IssuedSession, Session
from tests.strategies import HANDLE, START

TOKEN = "harn_sess_THE-SECRET-THE-SECRET-THE-SECRET-1234"
SESSION = Session(HANDLE, "alice", START, START, START + timedelta(hours=1), {"n": 1}, version=3)
ISSUED = IssuedSession.of(SESSION, TOKEN)


def test_the_token_is_there_once() -> None:
    assert ISSUED.token == TOKEN


@pytest.mark.parametrize(
    "told",
    [
        repr(ISSUED),
        str(ISSUED),
        f"{ISSUED}",
        f"{ISSUED!a}",
        "{}".format(ISSUED),  # noqa: UP032
        repr([ISSUED]),
        pickle.dumps(ISSUED),
        pickle.dumps(ISSUED, protocol=0),
        msgspec.json.encode(ISSUED),
        msgspec.msgpack.encode(ISSUED),
        msgspec.structs.asdict(ISSUED),
        msgspec.structs.astuple(ISSUED),
        msgspec.to_builtins(ISSUED),
        repr(AssertionError(ISSUED)),
        repr(copy.copy(ISSUED)),
        repr(copy.deepcopy(ISSUED)),
        dir(ISSUED),
    ],
)
def test_no_telling_tells_the_token(told: object) -> None:
    text = told.decode("latin-1") if isinstance(told, bytes) else str(told)
    assert "SECRET" not in text


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy(ISSUED),
        copy.deepcopy(ISSUED),
        pickle.loads(pickle.dumps(ISSUED)),
        msgspec.structs.replace(ISSUED, version=4),
    ],
)
def test_a_copy_does_not_hold_the_token(copied: IssuedSession) -> None:
    assert "SECRET" not in repr(vars(copied))
    with pytest.raises(AttributeError, match="does not hold its token"):
        copied.token  # noqa: B018


def test_an_issued_session_equals_the_session() -> None:
    assert ISSUED == SESSION
    assert hash(ISSUED) == hash(SESSION)
    assert isinstance(ISSUED, Session)


def test_equal_sessions_are_not_unequal() -> None:
    assert not copy.deepcopy(SESSION) != SESSION  # noqa: SIM202  the operator is what is tried


@pytest.mark.parametrize("changed", [{"version": 4}, {"attributes": {}}, {"principal": "bob"}])
def test_sessions_differ_with_any_field(changed: dict[str, Any]) -> None:
    assert msgspec.structs.replace(SESSION, **changed) != SESSION


def test_a_session_is_no_other_thing() -> None:
    assert SESSION != "alice"


def test_it_can_t_be_changed() -> None:
    with pytest.raises(AttributeError):
        SESSION.principal = "mallory"  # type: ignore[misc]


def test_it_is_over_at_its_expiry_and_not_before() -> None:
    assert not SESSION.is_expired_at(SESSION.expires_at - timedelta(microseconds=1))
    assert SESSION.is_expired_at(SESSION.expires_at)


def test_it_is_over_at_any_instant_once_it_was_ended() -> None:
    ended = msgspec.structs.replace(SESSION, ended_at=SESSION.expires_at)
    assert ended.is_expired_at(START)


def test_a_session_pickles_and_copies() -> None:
    assert pickle.loads(pickle.dumps(SESSION)) == SESSION
    assert copy.deepcopy(SESSION) == SESSION
