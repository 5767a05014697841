"""Aliases: rows listed by another name, which several keys may share."""

from __future__ import annotations

from typing import Any

from sessionledger import Draft, Log, LogEvent, Row, StoredEvent, Unit, canonical
from sessionledger.testing.bench import TOPIC, Bench, TallyFold, add, event, put

KEYS = [bytes([number]) * 32 for number in range(1, 9)]


class AliasFold(TallyFold):
    """A row that is also called what its newest event says."""

    def evolve(self, row: Row | None, event: LogEvent | StoredEvent) -> Draft:
        draft = super().evolve(row, event)
        alias = canonical.decode(event.payload).get("alias")
        return Draft(draft.owner, draft.expires, draft.live, draft.state, alias)


FOLD = AliasFold()


def called(log: Log, alias: str, **which: Any) -> list[bytes]:
    return [row.key for row in log.rows(TOPIC, alias=alias, **which)]


def named(key: bytes, alias: str | None, owner: str = "alice", **told: Any) -> LogEvent:
    more: dict[str, Any] = {} if alias is None else {"alias": alias}
    return event(key, owner, **told, **more)


def opened(bench: Bench) -> Log:
    bench.log.fold_with(TOPIC, FOLD)
    return bench.log


def test_rows_are_listed_by_alias_in_the_order_of_their_creation(bench: Bench) -> None:
    log = opened(bench)
    add(log, [named(key, "one" if n % 2 else "two") for n, key in enumerate(reversed(KEYS))])
    add(log, [named(KEYS[0], "one")])
    assert called(log, "one") == [KEYS[6], KEYS[4], KEYS[2], KEYS[0]]
    assert called(log, "two") == [KEYS[7], KEYS[5], KEYS[3], KEYS[1]]
    assert called(log, "three") == called(log, "") == []
    assert {row.alias for row in log.rows(TOPIC, alias="one")} == {"one"}


def test_a_row_without_an_alias_is_listed_by_none(bench: Bench) -> None:
    log = opened(bench)
    add(log, [named(KEYS[0], None), named(KEYS[1], "one")])
    assert [row.key for row in log.rows(TOPIC)] == KEYS[:2]
    assert log.rows(TOPIC)[0].alias is None
    assert called(log, "one") == [KEYS[1]]
    assert called(log, "None") == []


def test_a_put_has_its_alias(bench: Bench) -> None:
    log = opened(bench)
    change = put(named(KEYS[0], "one"), None, expected=0, fold=FOLD)
    log.append(TOPIC, [Unit([change])])
    assert called(log, "one") == [KEYS[0]]
    row = log.row(TOPIC, KEYS[0])
    assert row is not None
    assert row.alias == "one"


def test_an_alias_follows_its_row(bench: Bench) -> None:
    log = opened(bench)
    add(log, [named(KEYS[0], "one"), named(KEYS[1], "one")])
    add(log, [named(KEYS[0], "two")])
    assert (called(log, "one"), called(log, "two")) == ([KEYS[1]], [KEYS[0]])
    add(log, [named(KEYS[0], None), named(KEYS[1], "two")])
    assert (called(log, "one"), called(log, "two")) == ([], [KEYS[1]])


def test_an_alias_goes_with_every_other_choice(bench: Bench) -> None:
    log = opened(bench)
    add(log, [named(KEYS[0], "one", expires=10), named(KEYS[1], "one", "bob", expires=20)])
    add(log, [named(KEYS[2], "one", expires=30), named(KEYS[3], "one", expires=40, live=False)])
    assert called(log, "one", owner="alice") == [KEYS[0], KEYS[2], KEYS[3]]
    assert called(log, "one", owner="carol") == []
    assert called(log, "one", live_at=15) == [KEYS[1], KEYS[2]]
    assert called(log, "one", owner="alice", live_at=15) == [KEYS[2]]
    assert called(log, "one", expires_before=25) == [KEYS[0], KEYS[1]]


def test_pages_follow_each_other(bench: Bench) -> None:
    log = opened(bench)
    add(log, [named(key, "one") for key in KEYS])
    pages: list[bytes] = []
    after: Row | None = None
    while page := log.rows(TOPIC, alias="one", after=after, limit=3):
        assert len(page) <= 3
        pages += [row.key for row in page]
        after = page[-1]
    assert pages == KEYS


def test_aliases_are_the_same_after_a_rebuild(bench: Bench) -> None:
    log = opened(bench)
    add(log, [named(key, f"alias{n % 3}") for n, key in enumerate(KEYS)])
    add(log, [named(KEYS[0], "alias1"), named(KEYS[1], None)])
    before = [log.rows(TOPIC, alias=f"alias{n}") for n in range(3)]
    log.rebuild(TOPIC)
    assert [log.rows(TOPIC, alias=f"alias{n}") for n in range(3)] == before


def test_any_text_is_an_alias(bench: Bench) -> None:
    log = opened(bench)
    texts = ["%", "_", "a'b", '"', "é", "\U0001f511", "a\0b", " "]
    add(log, [named(key, text) for key, text in zip(KEYS, texts, strict=True)])
    for key, text in zip(KEYS, texts, strict=True):
        assert called(log, text) == [key]
