"""Pool that are lost: what was acknowledged is there once, and what was not is told."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import DuplicateSession, LogUnavailable, Policy, SessionStore, open_log
from sessionledger.testing.fixtures import FOLD, TOPIC, add, creation, event, every_event, until
from tests.logs.postgres.cutting import Way
from tests.postgres_server import (
    address,
    execute,
    schema,
    setting,
    use_a_server_apart,
)

END_ALL = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'sessionledger' AND datname = current_database()"""
TOKEN = "harn_sess_test_abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def way() -> Iterator[Way]:
    # A socket's path is short.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        way = Way(Path(folder))
        yield way
        way.close()


@pytest.fixture
def url(way: Way, tmp_path: Path) -> str:
    return f"{way.address}&schema={schema(tmp_path)}"


@pytest.mark.parametrize("lost", ["the question", "the answer"])
def test_a_commit_that_is_lost_on_the_way_happens_once(way: Way, url: str, lost: str) -> None:
    log = open_log(url)
    log.fold_with(TOPIC, FOLD)
    assert add(log, [event(b"k")]) == (1,)
    way.lose = lost
    assert add(log, [event(b"k"), event(b"l")]) == (2, 3)
    assert way.lost == 1
    assert add(log, [event()]) == (4,)
    assert [one.id for one in every_event(log)] == [1, 2, 3, 4]
    log.close()


@pytest.mark.parametrize("lost", ["the question", "the answer"])
def test_a_creation_whose_commit_is_lost_has_one_winner(way: Way, url: str, lost: str) -> None:
    with SessionStore.open(url) as store:
        way.lose = lost
        store.create("alice", token=TOKEN)
        assert way.lost == 1
        with pytest.raises(DuplicateSession):
            store.create("bob", token=TOKEN)
        way.lose = lost
        assert store.expire(TOKEN) is not None
        assert store.get(TOKEN) is None
        assert store.verify().ok
        assert [entry.kind for entry in store.history(principal="alice")] == [
            "session_created",
            "session_expired",
        ]


@pytest.mark.parametrize("lost", ["the question", "the answer"])
def test_a_rule_whose_call_is_lost_is_decided_once(way: Way, url: str, lost: str) -> None:
    policy = Policy(max_sessions_per_principal=2, on_limit="evict_oldest")
    with SessionStore.open(url, policy=policy) as store:
        tokens = [store.create("alice").token for _ in range(2)]
        way.lose = lost
        assert store.create("alice", token=TOKEN).token == TOKEN
        assert [store.get(token) is None for token in (*tokens, TOKEN)] == [True, False, False]
        way.lose = lost
        assert store.revoke_all("alice") == 2
        way.lose = lost
        assert store.revoke_all("alice") == 0
        assert way.lost == 3
        assert store.verify().ok
        assert store.head().id == 6


@pytest.mark.parametrize("lost", ["the question", "the answer"])
def test_what_is_no_event_is_done_again(way: Way, url: str, lost: str) -> None:
    log = open_log(url)
    log.fold_with(TOPIC, FOLD)
    add(log, [event(b"k")])
    way.lose = lost
    log.ack(TOPIC, "reader", 1)
    assert log.cursor(TOPIC, "reader") == 1
    way.lose = lost
    assert log.rebuild(TOPIC) == 1
    way.lose = lost
    log.flush()
    assert way.lost == 3
    log.close()


@pytest.mark.middle
def test_what_can_t_be_told_is_told_to_be_so(way: Way, url: str) -> None:
    open_log(url).close()
    log = open_log(f"{url}&timeout=2s")
    way.lose = "the answer"
    way.then_refuse = True
    with pytest.raises(LogUnavailable, match="does not say whether it was written"):
        add(log, [event()])
    way.then_refuse = False
    assert len(every_event(log)) == 1
    log.close()


def test_connections_that_the_server_ended_are_made_anew(url: str) -> None:
    log = open_log(url)
    log.fold_with(TOPIC, FOLD)
    log.append(TOPIC, [creation(b"k")])
    for call in (lambda: log.row(TOPIC, b"k"), lambda: add(log, [event()])):
        execute(END_ALL)
        assert call()
    log.close()


@pytest.mark.middle
def test_a_commit_that_waits_for_a_standby_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_a_server_apart(monkeypatch)
    tokens = [f"{TOKEN}{number}" for number in range(1000)]
    tried = iter(tokens)
    with SessionStore.open(address(tmp_path), timeout=timedelta(seconds=3)) as store:

        def is_unknown() -> bool:
            try:
                store.create("alice", token=next(tried))
            except LogUnavailable as error:
                assert "does not say whether it was written" in str(error)  # noqa: PT017
                return True
            return False

        with setting("synchronous_standby_names", "nobody"):
            until(is_unknown)
        until(lambda: not is_unknown())
        asked = tokens[: tokens.index(next(tried))]
        assert all(map(store.get, asked)), "each was written, and is not waited for any more"
        assert store.verify().ok
