"""What deliberately differs from the reference: each row of `docs/differences.md`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import apsw
import pytest

from sessionledger import (
    DuplicateSession,
    InvalidSession,
    Log,
    Policy,
    SessionStore,
)
from tests.parity.conftest import HANDLE, NOW, OTHER, TOKEN, append, record

DOCUMENT = Path(__file__).parents[2] / "docs/differences.md"
HOUR = timedelta(hours=1)


def refused(store: SessionStore, field: str, **arguments: Any) -> None:
    """Creating is refused for that field, and writes nothing."""
    with pytest.raises(InvalidSession) as caught:
        store.create(**{"principal": "alice", **arguments})
    assert caught.value.field == field
    assert list(store.events()) == []


# What a session may hold


def test_deep_attributes_are_refused(store: SessionStore) -> None:
    refused(store, "attributes", attributes=nested(65))
    assert store.create("alice", attributes=nested(64)).attributes == nested(64)


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth > 1 else {"a": 1}


def test_large_attributes_are_refused(store: SessionStore) -> None:
    brim = 64 * 1024 - len('{"a":""}')
    refused(store, "attributes", attributes={"a": "x" * (brim + 1)})
    assert store.create("alice", attributes={"a": "x" * brim}).principal == "alice"


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40])
def test_integers_of_any_size_are_exact(store: SessionStore, number: int) -> None:
    store.create("alice", token=TOKEN, attributes={"n": number})
    store.rebuild()
    assert exact(store) == repr(number)


@pytest.mark.parametrize("number", [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 1e16, 1.5e-7])
def test_floats_are_exact(store: SessionStore, number: float) -> None:
    store.create("alice", token=TOKEN, attributes={"n": number})
    store.rebuild()
    assert exact(store) == repr(number)


def exact(store: SessionStore) -> str:
    session = store.get(TOKEN)
    assert session is not None
    return repr(session.attributes["n"])


def test_the_token_in_its_own_attributes_is_refused(store: SessionStore) -> None:
    refused(store, "attributes", token=TOKEN, attributes={"copy": [f"Bearer {TOKEN}"]})
    store.create("alice", token=TOKEN)
    with pytest.raises(InvalidSession):
        store.touch(TOKEN, attributes={TOKEN: True})
    assert len(list(store.events())) == 1


@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\x9f"])
def test_control_characters_in_a_principal_are_refused(store: SessionStore, character: str) -> None:
    refused(store, "principal", principal=f"al{character}ice")


@pytest.mark.parametrize(
    "principal",
    [
        *("al\u200bice", "alice\u200d", "al\u00adice", "\ufeffalice", "\u2060alice"),
        *("ali\u202ece", "\u2066alice\u2069", "alice\u200f", "al\u2028ice"),
        *("al\u034fice", "al\u3164ice", "al\uffa0ice", "al\u115fice", "al\u2800ice"),
        *("alice\ufe0f", "alice\U000e0100", "alice\U000e0061", "al\u180bice", "al\u1680ice"),
        *("\uff41lice", "a\ufb01", "e\u0301", "al\u00a0ice", "al\u2003ice", "\u2102", "\u212b"),
    ],
    ids=ascii,
)
def test_a_principal_that_looks_like_another_is_refused(
    store: SessionStore, principal: str
) -> None:
    refused(store, "principal", principal=principal)


@pytest.mark.parametrize(
    "principal",
    ["José", "Łukasz", "Ξένια", "Анна", "山田 太郎", "مريم", "नेहा", "김철수", "a b", "👩"],
)
def test_names_in_any_script_are_taken(store: SessionStore, principal: str) -> None:
    assert store.create(principal).principal == principal


def test_a_principal_that_looks_like_a_token_is_refused(store: SessionStore) -> None:
    refused(store, "principal", principal="harn_sess_" + "x" * 43)


def test_a_long_principal_is_refused(store: SessionStore) -> None:
    refused(store, "principal", principal="é" * 513)
    assert store.create(" " + "é" * 512).principal == "é" * 512


def test_a_long_token_is_refused(store: SessionStore) -> None:
    refused(store, "token", token="é" * 513)
    assert store.create("alice", token="é" * 512 + "\n").token == "é" * 512


@pytest.mark.parametrize("token", [HANDLE, f" {HANDLE}", "sha256:v1:" + "x" * 40])
def test_a_token_shaped_like_a_handle_is_refused(store: SessionStore, token: str) -> None:
    refused(store, "token", token=token)
    with pytest.raises(InvalidSession):
        store.get(token)


@pytest.mark.parametrize("field", ["created_at", "expires_at"])
def test_a_naive_time_is_refused(store: SessionStore, field: str) -> None:
    refused(store, field, **{field: datetime(2030, 1, 1)})  # noqa: DTZ001  naive on purpose


def test_the_reference_policy_lifts_its_limits(log: Log) -> None:
    with SessionStore(log, policy=Policy.reference()) as store:
        attributes = {"a": "x" * 70_000, "b": nested(65)}
        issued = store.create("\0" + "é" * 513, token=HANDLE * 10, attributes=attributes)
        found = store.get(issued.token)
    assert found is not None
    assert found.attributes == attributes


# Times


def test_nanoseconds_are_cut(log: Log, store: SessionStore) -> None:
    append(log, "session_created", record(expires_at="2026-05-02T13:00:00.123456999Z"))

    end = datetime(2026, 5, 2, 13, 0, 0, 123456, tzinfo=UTC)
    session = store.get(TOKEN)
    assert session is not None
    assert session.expires_at == end
    assert store.get(TOKEN, now=end) is None


def test_expiring_again_appends_nothing(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    ended = store.expire(TOKEN)

    assert store.expire(TOKEN) == ended
    assert store.revoke(handle=HANDLE) == ended
    assert [event.kind for event in store.events()] == ["session_created", "session_expired"]


def test_a_touch_never_passes_the_deadline(log: Log) -> None:
    with SessionStore(log, policy=Policy(idle_timeout=HOUR), clock=lambda: NOW) as store:
        store.create("alice", token=TOKEN, ttl=3 * HOUR)
        touched = store.touch(TOKEN, last_seen_at=NOW, expires_at=NOW + 9 * HOUR)

    assert touched is not None
    assert touched.expires_at == NOW + 3 * HOUR


# Secrets


def test_a_session_does_not_hold_its_token(store: SessionStore) -> None:
    issued = store.create("alice", token=TOKEN)
    found = store.get(TOKEN)

    assert issued.token == TOKEN
    assert not hasattr(found, "token")
    assert TOKEN not in repr(issued)
    assert TOKEN not in repr(found)


def test_no_error_holds_the_token(store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    with pytest.raises(DuplicateSession) as caught:
        store.create("alice", token=TOKEN)
    assert TOKEN not in f"{caught.value} {caught.value!r} {caught.value.args}"


# The log


def test_a_lost_create_leaves_no_event(log: Log, store: SessionStore) -> None:
    together = Barrier(8)

    def create(_: int) -> bool:
        together.wait()
        try:
            store.create("alice", token=TOKEN)
        except DuplicateSession:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(create, range(8)))

    assert won.count(True) == 1
    assert len(list(store.events())) == 1


@pytest.fixture
def bereft(tmp_path: Path) -> Iterator[SessionStore]:
    """A ledger with a live session and an ended one, whose events somebody removed."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    with SessionStore.open(url, clock=lambda: NOW) as store:
        store.create("alice", token=TOKEN)
        store.create("bob", token=OTHER)
        store.expire(OTHER)
    connection = apsw.Connection(str(tmp_path / "s.db"))
    connection.execute("DELETE FROM events")
    connection.close()
    with SessionStore.open(url, clock=lambda: NOW) as store:
        yield store


def test_removed_events_free_no_token(bereft: SessionStore) -> None:
    live = bereft.get(TOKEN)
    assert live is not None
    assert live.principal == "alice"
    for token in (TOKEN, OTHER):
        with pytest.raises(DuplicateSession):
            bereft.create("mallory", token=token)


def test_removed_events_do_not_rewind_ids(bereft: SessionStore) -> None:
    assert bereft.create("carol").version == 4


# Files


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A file log with a live session and one that ended."""
    with on(tmp_path / "log") as store:
        store.create("alice", token=TOKEN)
        store.create("bob", token=OTHER)
        store.expire(OTHER)
    return tmp_path / "log" / "topics" / "orchestrator.sessions.jsonl"


def on(folder: Path) -> SessionStore:
    return SessionStore.open(f"file://{folder}", clock=lambda: NOW)


def test_two_file_logs_share_a_folder(files: Path) -> None:
    with on(files.parents[1]) as one, on(files.parents[1]) as other:
        tokens = [store.create("carol").token for _ in range(5) for store in (one, other)]
        assert all(store.get(token) for token in tokens for store in (one, other))
        assert one.verify().events == other.verify().events == 13


def test_a_torn_line_swallows_nothing(files: Path) -> None:
    with files.open("ab") as file:
        file.write(files.read_bytes().splitlines()[0][:-30])
    with on(files.parents[1]) as store:
        assert store.create("carol").version == 4
        assert store.verify().ok


def test_a_damaged_line_ends_only_its_own_session(files: Path) -> None:
    files.write_bytes(files.read_bytes().replace(b'"principal":"alice"', b'"principal":"alice '))
    with on(files.parents[1]) as store:
        assert store.get(TOKEN) is None
        assert store.create("carol").version == 4
        broken = store.verify().broken
        assert broken is not None
        assert broken.id == 1


def test_an_altered_kind_brings_nobody_back(files: Path) -> None:
    files.write_bytes(files.read_bytes().replace(b"session_expired", b"session_expiree"))
    with on(files.parents[1]) as store:
        assert store.get(OTHER) is None
        assert store.get(TOKEN) is not None


# The document


def rows() -> list[str]:
    return [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")][2:]


def functions_in(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_row_of_the_document_is_shown_by_a_test() -> None:
    assert len(rows()) > 20
    for row in rows():
        ((file, name),) = re.findall(r"`(\w+\.py)::(test_\w+)` \|$", row)
        assert name in functions_in(Path(__file__).with_name(file)), row
