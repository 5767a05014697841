"""The token is told once, to who creates the session, and is nowhere else."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from sessionledger import SessionStore
from tests import postgres_server
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import KINDS, PERSISTENT, Bench, Kind


def test_new_tokens_differ_and_are_told_once(store: SessionStore) -> None:
    issued = [store.create("alice") for _ in range(20)]
    assert len({one.token for one in issued}) == len({one.handle for one in issued}) == 20
    for one in issued:
        assert one.token not in repr(one) + str(one) + repr(store.get(one.token))
        assert not hasattr(pickle.loads(pickle.dumps(one)), "token")
        assert not hasattr(copy.copy(one), "token")
        assert not hasattr(copy.deepcopy(one), "token")


def test_the_token_is_in_nothing_that_is_answered(store: SessionStore) -> None:
    tokens = [store.create("alice", token=TOKEN).token, store.create("alice").token]
    store.touch(TOKEN, attributes={"a": 1}, reason="seen")
    store.expire(TOKEN, actor="root")
    told = [
        list(store.events()),
        list(store.history(principal="alice")),
        store.stats(),
        store.head(),
    ]
    told += [list(store.sessions(state="all")), list(store.sessions().pages()), store.verify()]
    for token in tokens:
        assert token not in repr(told)


def contents(kind: Kind, folder: Path) -> list[bytes]:
    if kind.backend == "postgresql":
        return postgres_server.written()
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.backend in PERSISTENT], ids=str)
def test_the_token_is_in_no_file(kind: Kind, tmp_path: Path) -> None:
    bench = Bench(kind, tmp_path / "ledger.db")
    with bench.open() as store:
        tokens = [store.create("alice", token=OTHER).token, store.create("bob").token]
        store.touch(OTHER)
        store.expire(OTHER)
        written = contents(kind, tmp_path)
    bench.close()
    written += contents(kind, tmp_path)
    assert any(b"session_created" in content for content in written)
    for token in tokens:
        assert not any(token.encode() in content for content in written)
