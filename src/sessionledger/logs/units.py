"""Which units may be written, and what writing them means: the pure half of every append.

A log loads the rows that a batch of units touches, lets `plan` judge them, and
stores what comes out. Conditions are judged in order, each unit seeing what those before it did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from sessionledger.canonical import is_unicode, nests_deeper
from sessionledger.errors import CorruptLog, InvalidEvent
from sessionledger.logs import chain
from sessionledger.logs.base import (
    Appended,
    Change,
    Conflict,
    Draft,
    Fold,
    LogEvent,
    Outcome,
    Progress,
    Row,
    RowFilter,
    Rule,
    StoredEvent,
    Unit,
    Verdict,
)
from sessionledger.logs.chain import Head
from sessionledger.logs.marks import Mark

UNIT_HEADER = "sessionledger.unit"
"""On each event of a unit of several: `i/n`, counted from 1. A log that stores events one after
the other can tell by it that the end of a unit is missing."""

MAX_PAYLOAD_DEPTH = 198
INT64 = 1 << 63

_json = msgspec.json.Decoder(msgspec.Raw).decode


class Link(msgspec.Struct, frozen=True, gc=False):
    """An event concerned a key; `previous` is the event of the key before it, 0 for none."""

    id: int
    key: bytes
    previous: int


class BatchState(msgspec.Struct):
    """What a batch starts from: the head, and the rows that it touches.

    rows: the current row of every key in `keys_of(units)`, where it exists.
    pages: for each of `rules_of(units)`, in order, the rows that it asks for.
    relatives: for each of them, the live rows of `groups_of(rule, page)`.
    written: the keys that units of this batch wrote, by their names.
    mark: the mark that is in force. All rows here are as they are stored: `row` applies it.
    refuse: why a unit may not be written for what the log knows of lost events.
    """

    head: Head
    rows: dict[bytes, Row]
    pages: Sequence[Sequence[Row]] = ()
    relatives: Sequence[Sequence[Row]] = ()
    written: dict[str, set[bytes]] = {}
    mark: Mark | None = None
    refuse: Callable[[Unit], Conflict | None] | None = None

    def row(self, key: bytes) -> Row | None:
        """The current row of a key, as it is to be read."""
        row = self.rows.get(key)
        return row if row is None or self.mark is None else self.mark.apply(row)


class Plan(msgspec.Struct):
    """What to store: the events in order, and the rows, the links and the mark at the end."""

    outcomes: list[Outcome]
    events: list[StoredEvent]
    rows: dict[bytes, Row]
    links: list[Link]
    head: Head
    mark: Mark | None = None


def check(units: Iterable[Unit], fold: Fold | None) -> None:
    """Raises `InvalidEvent` for units that can't be stored."""
    for unit in units:
        if not unit.changes and unit.rule is None:
            raise InvalidEvent("a unit holds at least one change, or a rule")
        if unit.rule is not None:
            _check_rule(unit.rule, fold)
        for change in unit.changes:
            _check_event(change.event)
            if change.put is not None and fold is None:
                raise InvalidEvent("rows can be put into a topic only with its fold: fold_with()")


def _check_rule(rule: Rule, fold: Fold | None) -> None:
    """Raises `InvalidEvent` for a rule that can't be decided."""
    if fold is None:
        raise InvalidEvent("rules go by rows, which a topic has only with its fold: fold_with()")
    if not rule.where.is_named or rule.where.live_at is None or rule.where.by_end:
        raise InvalidEvent("a rule goes by the live rows of an owner, an alias or a group")


def _check_event(event: LogEvent) -> None:
    """Raises `InvalidEvent` here, to whoever made it, and not to those it is committed with."""
    if type(event.kind) is not str or type(event.payload) is not bytes:
        raise InvalidEvent("an event has a kind of str and a payload of bytes")
    if type(event.occurred_at_ms) is not int or not -INT64 <= event.occurred_at_ms < INT64:
        raise InvalidEvent("an event happened at a whole number of milliseconds, in 64 bits")
    _check_text(event.kind)
    if "\0" in event.kind:
        raise InvalidEvent("an event's kind holds no NUL")
    for key, value in event.headers.items():
        if type(key) is not str or type(value) is not str:
            raise InvalidEvent("an event's headers are str to str")
        _check_text(key)
        _check_text(value)
    _check_payload(event.payload)
    if UNIT_HEADER in event.headers:
        raise InvalidEvent(f"the header {UNIT_HEADER!r} is the log's to write")
    chain.check_headers(event)


def _check_text(text: str) -> None:
    if not text.isascii() and not is_unicode(text):
        raise InvalidEvent("an event's kind and headers hold no lone surrogates")


def _check_payload(payload: bytes) -> None:
    """One line of JSON, as it is hashed: what one log stores, any other can."""
    try:
        text = None if nests_deeper(payload, MAX_PAYLOAD_DEPTH) else _json(payload)
        payload.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        text = None
    if text is None or len(text) != len(payload) or b"\n" in payload:
        raise InvalidEvent(
            f"an event's payload is one line of JSON, at most {MAX_PAYLOAD_DEPTH} deep"
        )


def keys_of(units: Iterable[Unit], fold: Fold | None) -> list[bytes]:
    """The keys that the units touch or rest on, each once."""
    keys: dict[bytes, None] = {}
    for unit in units:
        keys.update((key, None) for key, _ in unit.reads)
        for change in unit.changes:
            key = _key_of(change, fold)
            if key is not None:
                keys[key] = None
    return list(keys)


def rules_of(units: Iterable[Unit]) -> list[Rule]:
    """The rules of the units, in order."""
    return [unit.rule for unit in units if unit.rule is not None]


def groups_of(rule: Rule, rows: Iterable[Row]) -> list[str]:
    """The groups whose rows a rule is given besides its own, each once."""
    if rule.follow is None:
        return []
    return list(dict.fromkeys((*rule.groups, *(row.group for row in rows if row.group))))


def refuse_shortened(topic: str, folded: int, head: int) -> None:
    """Raises `CorruptLog` for a log that ends before the last event of its rows.

    To fold the rest would bring back sessions that the removed events had ended.
    """
    if head < folded:
        raise CorruptLog(
            f"the log of {topic!r} ends at event {head} but its rows know event {folded}: "
            "events were removed; restore the log from a copy"
        )


def fold_of(folds: Mapping[str, Fold], topic: str) -> Fold:
    """The fold of a topic. Raises `InvalidEvent` where there is none."""
    fold = folds.get(topic)
    if fold is None:
        raise InvalidEvent(f"the rows of {topic!r} can be kept only with its fold: fold_with()")
    return fold


def fold_pages(fold_page: Callable[[], int], progress: Progress | None) -> None:
    """Fold pages of events until one has none; `progress` is told how many are done."""
    done, page = 0, 1
    while page:
        page = fold_page()
        done += page
        if progress is not None:
            progress(done)


def plan(topic: str, units: Iterable[Unit], fold: Fold | None, state: BatchState) -> Plan:
    """Judge the units against the state, which is updated in place as they take effect."""
    planner = _Planner(topic, fold, state, Plan([], [], {}, [], state.head))
    for page in (*state.pages, *state.relatives):
        state.rows.update((row.key, row) for row in page)
    pages = zip(state.pages, state.relatives, strict=True)
    for unit in units:
        ruling = None if unit.rule is None else ruling_of(unit.rule, *next(pages), state)
        refused = state.refuse and state.refuse(unit)
        outcome = refused or _conflict(unit, state, fold) or planner.write(unit, ruling)
        planner.plan.outcomes.append(outcome)
    planner.plan.mark = state.mark
    return planner.plan


def refold(
    fold: Fold, events: Iterable[StoredEvent], rows: dict[bytes, Row], mark: Mark | None
) -> Plan:
    """Fold events that came without rows into those of their keys: others' appends, a rebuild.

    `rows` holds the current row of every key that the events concern, where it exists; `mark` is
    the one in force before them.
    """
    planned = Plan([], [], {}, [], chain.EMPTY)
    planner = _Planner("", fold, BatchState(chain.EMPTY, rows, mark=mark), planned)
    event = None
    for event in events:
        planner.fold_in(event, event.id)
    planned.mark = planner.state.mark
    if event is not None:
        planned.head = chain.head_after(event)
    return planned


def aftermaths(
    fold: Fold, rows: Iterable[Row], listed: Callable[[RowFilter], Sequence[Row]]
) -> list[Rule]:
    """What is due after rows that were just folded, as far as there is anything to do.

    listed: the rows that a filter matches. Our own units leave nothing to be done.
    """
    ended = [row for row in rows if row.group is not None and not row.live]
    rules = [rule for row in ended if (rule := fold.aftermath(row)) is not None]
    return [rule for rule in rules if rule.decide(listed(rule.where))]


def _key_of(change: Change, fold: Fold | None) -> bytes | None:
    if change.put is not None:
        return change.put.key
    return None if fold is None else fold.key(change.event)


def _conflict(unit: Unit, state: BatchState, fold: Fold | None) -> Conflict | None:
    for change in unit.changes:
        put = change.put
        if put is None or put.expected is None:
            continue
        stored = state.rows.get(put.key)
        row = stored if stored is None or state.mark is None else state.mark.apply(stored)
        if (0 if row is None else row.version) != put.expected:
            return Conflict(key=put.key, current=row)
        # A compaction may have reduced a row that is over, and left its version as it was.
        if stored is None or stored.live or fold is None:
            continue
        if fold.evolve(stored, change.event) != put.draft:
            return Conflict(key=put.key, current=stored)
    for key, version in unit.reads:
        row = state.row(key)
        if (0 if row is None else row.version) != version:
            return Conflict(key=key, current=row)
    return None


class Ruling(msgspec.Struct, frozen=True):
    """The rows that a rule is given, and the last of them if there may be more."""

    rule: Rule
    rows: list[Row]
    relatives: list[Row]
    last: Row | None

    def decide(self) -> Verdict | None:
        """What the rule says."""
        verdict = self.rule.decide(self.rows)
        if verdict is None or self.rule.follow is None:
            return verdict
        further = self.rule.follow(verdict, self.relatives)
        return None if further is None else (*further, *verdict)


def ruling_of(
    rule: Rule, page: Sequence[Row], relatives: Sequence[Row], state: BatchState
) -> Ruling:
    """What a rule is given: its page, as the units before it in the batch have changed it."""
    where, after = rule.where, rule.after
    name = where.group or where.alias or where.owner or ""
    rows = _as_changed(page, [name], where.matches, state)
    if after is not None:
        rows = [row for row in rows if row.created > after.created]
    last = None
    if rule.limit is not None and max(len(rows), len(page)) >= rule.limit:
        rows = rows[: rule.limit]
        last = rows[-1] if len(rows) == rule.limit else page[-1]
    groups = dict.fromkeys(groups_of(rule, rows))
    related = _as_changed(relatives, groups, lambda row: row.live and row.group in groups, state)
    return Ruling(rule, rows, related, last)


def _as_changed(
    page: Sequence[Row], names: Iterable[str], matches: Callable[[Row], bool], state: BatchState
) -> list[Row]:
    """The rows that match, of a page and of those that the batch wrote under the names."""
    keys = {row.key for row in page}.union(*(state.written.get(name, ()) for name in names))
    rows = [row for key in keys if (row := state.row(key)) is not None and matches(row)]
    rows.sort(key=lambda row: row.created)
    return rows


class _Planner(msgspec.Struct):
    """What a batch is planned with: the plan grows, and the state follows it."""

    topic: str
    fold: Fold | None
    state: BatchState
    plan: Plan

    def write(self, unit: Unit, ruling: Ruling | None) -> Outcome:
        verdict: Verdict | None = () if ruling is None else ruling.decide()
        if verdict is None:
            return Conflict()
        ids: list[int] = []
        total = len(verdict) + len(unit.changes)
        for row, event in verdict:
            assert self.fold is not None
            ids.append(self._add(event, len(ids) + 1, total))
            draft = self.fold.evolve(self.state.row(row.key), event)
            assert draft is not None
            self._put(row.key, ids[-1], draft)
        for change in unit.changes:
            ids.append(self._add(change.event, len(ids) + 1, total))
            if change.put is not None:
                self._put(change.put.key, ids[-1], change.put.draft)
            else:
                # As it was given: a fold may remember that it has read it.
                self.fold_in(change.event, ids[-1])
        return Appended(tuple(ids), tuple(verdict), None if ruling is None else ruling.last)

    def _add(self, given: LogEvent, number: int, of: int) -> int:
        """Chain an event of a unit to those before it; its id."""
        head = self.plan.head
        event = chain.link(self.topic, numbered(given, number, of), head.id + 1, head.hash)
        self.plan.events.append(event)
        self.plan.head = chain.head_after(event)
        return event.id

    def fold_in(self, event: LogEvent | StoredEvent, id: int) -> None:
        if self.fold is None:
            return
        if event.kind in self.fold.marks:
            self._move_mark(event if isinstance(event, StoredEvent) else self.plan.events[-1])
            return
        key = self.fold.key(event)
        if key is None:
            return
        before = self.state.rows.get(key)
        if before is not None and id <= before.version:
            return
        draft = self.fold.evolve(before, event)
        if draft is not None and not draft.live and self.state.mark is not None:
            # It is an end of the row's own. Otherwise the row waits for one.
            draft = self.fold.evolve(self.state.row(key), event)
        if draft is not None:
            self._put(key, id, draft)

    def _move_mark(self, event: StoredEvent) -> None:
        assert self.fold is not None
        before = 0 if self.state.mark is None else self.state.mark.id
        after = self.fold.mark(event, before)
        if after != before:
            self.state.mark = Mark(event, self.fold) if after else None

    def _put(self, key: bytes, id: int, draft: Draft) -> None:
        before = self.state.rows.get(key)
        created, previous = (id, 0) if before is None else (before.created, before.version)
        row = Row.of(key, id, created, draft)
        self.plan.links.append(Link(id, key, previous))
        self.state.rows[key] = self.plan.rows[key] = row
        if self.state.pages:
            for name in (row.owner, row.alias, row.group):
                if name is not None:
                    self.state.written.setdefault(name, set()).add(key)


def numbered(event: LogEvent, number: int, of: int) -> LogEvent:
    """An event of a unit, with its place in it."""
    if of == 1:
        return event
    headers = {**event.headers, UNIT_HEADER: f"{number}/{of}"}
    return LogEvent(event.kind, event.payload, headers, event.occurred_at_ms)
