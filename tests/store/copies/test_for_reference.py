"""What the reference folds of a copy that was made for it is what our store says."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from sessionledger import (
    Change,
    CorruptLog,
    InvalidURL,
    LogEvent,
    LogUnavailable,
    NoLedger,
    Row,
    Session,
    SessionStore,
    Unit,
    copy_for_reference,
    open_log,
)
from sessionledger.core.token import ERASURES_KEY, FORGOTTEN_KEY, digest, handle_of
from sessionledger.store.session_fold import SessionFold, session_of
from sessionledger.testing import Clock
from tests.logs import bare_file, bare_sqlite
from tests.reference_fold import Folded, fold
from tests.store.copies.test_backup import on
from tests.store.facade import PERSISTENT, URLS

DAY = timedelta(days=1)
TOPIC = "orchestrator.sessions"
SUPPLIED = "a-token-that-somebody-supplied-01"
FILES = ("sqlite", "file")


def fill(url: str, clock: Clock) -> str:
    """A ledger in which sessions are over in every way that leaves no end of their own; the handle
    of a token that was forgotten."""
    with on(url, clock) as store:
        store.create("zoe", ttl=900 * DAY)
        store.revoke_everybody()
        store.sweep()
        store.expire(store.create("bob", ttl=DAY, token=SUPPLIED).token)
        forgotten = store.create("carol", ttl=DAY)
        store.expire(forgotten.token)
        old = store.create("ann", ttl=900 * DAY, attributes={"role": "reader", "rate": 1e16})
        clock.advance(3 * DAY)
        store.create("dora", ttl=900 * DAY)
        assert store.compact(retention=2 * DAY).sealed
        store.touch(old.token, attributes={"role": "writer"})
        store.rotate(store.create("emma", ttl=DAY).token)
        store.create("eve", ttl=900 * DAY)
        store.erase(principal="eve")
        store.revoke_everybody()
        store.rotate(store.create("fay", ttl=DAY, context={"device": "phone"}).token)
        parent = store.create("gus", ttl=DAY)
        store.create("agent", ttl=DAY, parent=parent.token)
        store.expire(store.create("hal", ttl=DAY).token)
        damaged = store.create("ida", ttl=DAY)
    with closing(open_log(url)) as log:
        bad = LogEvent.of("session_touched", {"token_handle": damaged.handle})
        log.fold_with(TOPIC, SessionFold(TOPIC))
        log.append(TOPIC, [Unit([Change(bad)])])
    return forgotten.handle


def rows(url: str) -> list[Row]:
    with closing(open_log(url)) as log:
        log.fold_with(TOPIC, SessionFold(TOPIC))
        return [one for one in log.rows(TOPIC) if one.key not in (FORGOTTEN_KEY, ERASURES_KEY)]


def by_reference(backend: str, path: Path) -> Folded:
    """What the reference folds of the files themselves. It fails at an event that it can't read."""
    if backend == "sqlite":
        sql = "SELECT kind, payload FROM events ORDER BY event_id"
        with closing(apsw.Connection(str(path))) as connection:
            found: list[Any] = connection.execute(sql).fetchall()
        return fold([(kind, json.loads(payload)) for kind, payload in found])
    lines = (path / "topics" / f"{TOPIC}.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    return fold([(event["kind"], event["payload"]) for event in events])


def told(session: Session) -> dict[str, object]:
    names = ("principal", "created_at", "last_seen_at", "expires_at", "attributes")
    known = {name: getattr(session, name) for name in names}
    return known | {"expired": session.ended_at is not None}


@pytest.mark.parametrize("target", FILES)
@pytest.mark.parametrize("source", PERSISTENT)
def test_the_reference_folds_what_the_store_says(source: str, target: str, tmp_path: Path) -> None:
    clock = Clock()
    old, new = URLS[source](tmp_path / "old"), URLS[target](tmp_path / "new")
    forgotten = fill(old, clock)
    copied = copy_for_reference(old, new)
    folded = by_reference(target, tmp_path / "new")
    ours = {handle_of(row.key): session_of(row) for row in rows(old)}
    sessions = {handle: told(one) for handle, one in ours.items() if one is not None}
    assert folded.sessions == sessions
    assert folded.seen == set(ours)
    assert handle_of(digest(SUPPLIED)) in folded.seen
    assert forgotten not in folded.seen
    live = [one for one in sessions.values() if not one["expired"]]
    assert (copied.live, copied.ended) == (len(live), len(ours) - len(live))
    assert sorted(str(one["principal"]) for one in live) == ["agent", "fay", "fay", "gus"]
    assert (copied.families, copied.children, copied.forgotten) == (2, 1, True)
    with on(new, clock) as store:
        assert copied.heads == (store.head(),)
        assert store.verify().ok


@pytest.mark.parametrize("target", FILES)
def test_the_reference_goes_on_with_its_copy(target: str, tmp_path: Path) -> None:
    clock = Clock()
    old, new = URLS["sqlite"](tmp_path / "old"), URLS[target](tmp_path / "new")
    with on(old, clock) as store:
        live = store.create("alice", ttl=DAY)
    copy_for_reference(old, new)
    at = clock.now.isoformat()
    end = LogEvent.of("session_expired", {"token_handle": live.handle, "expired_at": at})
    append = bare_sqlite.append if target == "sqlite" else bare_file.append_elsewhere
    append(tmp_path / "new", TOPIC, [end])
    assert by_reference(target, tmp_path / "new").sessions[live.handle]["expired"]
    with on(new, clock) as store:
        assert store.get(live.token) is None


def test_what_the_reference_can_not_read_or_has_a_ledger_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    old, new = URLS["sqlite"](tmp_path / "old"), URLS["file"](tmp_path / "new")
    fill(old, clock)
    for target in ("memory:", "postgresql://nobody@localhost/none"):
        with pytest.raises(InvalidURL, match="reference reads"):
            copy_for_reference(old, target)
    with pytest.raises(NoLedger):
        copy_for_reference(URLS["sqlite"](tmp_path / "missing"), new)
    with pytest.raises(LogUnavailable, match="exists"):
        copy_for_reference(old, old)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_for_reference(old, new, progress=stop)
    with pytest.raises(LogUnavailable, match="remove the copy"):
        copy_for_reference(old, new)


def test_a_ledger_whose_chain_breaks_is_refused(tmp_path: Path) -> None:
    old, new = URLS["sqlite"](tmp_path / "old"), URLS["sqlite"](tmp_path / "new")
    fill(old, Clock())
    bare_sqlite.execute(
        tmp_path / "old", "UPDATE events SET kind = 'x' WHERE kind = 'session_expired'"
    )
    with pytest.raises(CorruptLog, match="breaks at event"):
        copy_for_reference(old, new)
    assert not (tmp_path / "new").exists()
    sessions = copy_for_reference(old, new, accept_breaks=True)
    assert sessions.live


def test_every_topic_of_sessions_is_copied_and_no_other(tmp_path: Path) -> None:
    old, new = URLS["sqlite"](tmp_path / "old"), URLS["file"](tmp_path / "new")
    with closing(open_log(old)) as log:
        with SessionStore(log) as store, SessionStore(log, topic="keys") as keys:
            store.create("alice", ttl=DAY)
            key = keys.create("operator", ttl=DAY)
        log.append("orders", [Unit([Change(LogEvent.of("placed", {"order": 1}))])])
    copied = copy_for_reference(old, new)
    assert [head.topic for head in copied.heads] == ["keys", TOPIC]
    assert copied.live == 2
    text = (tmp_path / "new" / "topics" / "keys.jsonl").read_text()
    assert key.handle in text
    with SessionStore.open(new, topic="keys") as keys:
        assert keys.get(key.token) is not None
