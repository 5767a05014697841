"""A compaction by its steps, over small histories: every cut, crash, append in between and rebuild.

The steps are those of `logs/sql/compactor.py`, a key at a time. What they do is the product's own
code: `Choice` says which cuts there are, `units.refold` folds, `remains` says what is left,
`units.plan` judges every append. An oracle keeps all events, and folds them again.

A `Rules` leaves out one rule of the algorithm, for the test that this is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from sessionledger.core.codec import encode_event
from sessionledger.core.events import Created, Everybody, EverybodyEnded, Expired, Touched
from sessionledger.core.families import family_of, is_reuse
from sessionledger.core.session import Broken, Seen, Session, State, Tombstone
from sessionledger.core.token import FORGOTTEN_KEY, handle_of
from sessionledger.logs import units
from sessionledger.logs.base import Change, Conflict, Draft, LogEvent, Put, Row, StoredEvent, Unit
from sessionledger.logs.chain import EMPTY, Head, head_after
from sessionledger.logs.compaction.choice import Choice, Limits
from sessionledger.logs.compaction.contract import FORGOTTEN, WHOLE, Compaction, Cut
from sessionledger.logs.compaction.seal import KIND, BaseHash, problem_of, seal
from sessionledger.logs.marks import Mark
from sessionledger.store.audit.diagnosis import _is_reduced
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.operations.compaction import remains
from sessionledger.store.session_fold import SessionFold, state_of

KEYS: Final = (b"\x0a" * 32, b"\x0b" * 32)
A, B = (handle_of(key) for key in KEYS)
LATER = 500

Entries: TypeAlias = dict[bytes, Row | None]
Token: TypeAlias = Literal["generated", "supplied"]


@dataclass(frozen=True)
class Rules:
    """The rules of the algorithm; False for one that is left out."""

    versions_stay: bool = True
    as_of_the_cut: bool = True
    only_without_later_events: bool = True
    families_stay: bool = True
    only_generated_are_forgotten: bool = True
    other_states_stay: bool = True
    marks_are_lifted_first: bool = True
    generations: bool = True
    on_the_base_before: bool = True
    rebuilt_from_the_base: bool = True
    the_seal_tells: bool = True
    forgotten_after_the_seal: bool = True
    late_events_are_folded: bool = True
    writes_are_compared: bool = True


class ModelFold(SessionFold):
    """The fold of sessions, which remembers what it folded: it is pure."""

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self._keys: dict[tuple[str, bytes], bytes | None] = {}
        self._drafts: dict[tuple[bytes | None, str, bytes], Draft | None] = {}

    def key(self, event: LogEvent | StoredEvent) -> bytes | None:
        asked = (event.kind, event.payload)
        if asked not in self._keys:
            self._keys[asked] = super().key(event)
        return self._keys[asked]

    def evolve(self, row: Row | None, event: LogEvent | StoredEvent) -> Draft | None:
        asked = (None if row is None else row.state, event.kind, event.payload)
        if asked not in self._drafts:
            self._drafts[asked] = super().evolve(row, event)
        return self._drafts[asked]


FOLD = ModelFold(SESSIONS_TOPIC)


@cache
def at(minute: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)


@cache
def event_of(letter: str, key: int, n: int, token: Token) -> LogEvent:
    """An event by a letter, that happens in the minute `n`."""
    handle, owner = (A, B)[key], "mallory" if letter == "D" else "alice"
    own = letter == "c" or (letter == "C" and token == "generated")
    family = A if letter == "c" else None
    happened: Any = {
        **dict.fromkeys(
            "CDc",
            Created(
                b'{"n":%d}' % n, at(n), at(1000 + n), at(n), owner, handle,
                family=family, generated=own,
            ),
        ),
        "T": Touched(b'{"t":%d}' % n, at(1000 + n), at(n), handle),
        "E": Expired(at(n), handle),
        "e": Expired(at(0), handle),
        "G": Touched(None, at(n + 1), at(n), handle, deadline=at(n + 1), successor=B),
        "R": Expired(at(n), handle, cause="rotated", successor=B),
        "K": Everybody(at(n)),
    }.get(letter)  # fmt: skip
    if letter == "M":
        return LogEvent("session_touched", b'{"token_handle":"%b"}' % handle.encode(), {}, n)
    return LogEvent(*encode_event(happened), {}, n)


class Fault(AssertionError):
    """A promise that does not hold, and the shortest way to it."""


@dataclass
class World:
    """A topic, and an oracle that keeps all its events."""

    tokens: tuple[Token, ...]
    rules: Rules = Rules()
    path: str = ""
    events: tuple[StoredEvent, ...] = ()
    rows: dict[bytes, Row] = field(default_factory=dict)
    mark: Mark | None = None
    cut: Cut = WHOLE
    base: Entries = field(default_factory=dict)
    staged: Entries | None = None
    oracle: dict[bytes, Row] = field(default_factory=dict)
    head: Head = EMPTY
    decided: Mapping[bytes, Row] = field(default_factory=dict)
    was_interrupted: bool = False
    sealed: Mapping[bytes, Row] = field(default_factory=dict)

    def copy(self, path: str = "") -> World:
        staged = None if self.staged is None else dict(self.staged)
        return replace(
            self, path=f"{self.path} {path}", rows=dict(self.rows), base=dict(self.base),
            staged=staged, oracle=dict(self.oracle),
        )  # fmt: skip

    @property
    def code(self) -> Any:
        """Worlds of the same code go on alike."""
        parts = (self.rows, self.base, self.staged or {}, self.oracle, self.decided)
        known = tuple(tuple(sorted(part.items())) for part in parts)
        told = tuple((e.id, e.kind if e.kind == KIND else e.payload) for e in self.events)
        marked = 0 if self.mark is None else self.mark.id
        return (
            known,
            told,
            self.head.id,
            self.cut.id,
            marked,
            self.was_interrupted,
            self.staged is None,
            self.tokens,
        )

    # -- appending

    def append(self, batch: Sequence[Unit]) -> bool:
        """Append units; whether all were written."""
        if not batch:
            return True
        state = units.BatchState(self.head, dict(self.rows), mark=self.mark)
        plan = units.plan(SESSIONS_TOPIC, batch, FOLD, state)
        self.take(plan.events, plan.rows, plan.mark)
        return not any(isinstance(outcome, Conflict) for outcome in plan.outcomes)

    def append_foreign(self, event: LogEvent) -> None:
        """What another program appends: it has no row, until it is folded."""
        state = units.BatchState(self.head, {})
        plan = units.plan(SESSIONS_TOPIC, [Unit([Change(event)])], None, state)
        folded = units.refold(FOLD, plan.events, dict(self.rows), self.mark)
        self.take(plan.events, folded.rows, folded.mark)

    def take(
        self, events: Sequence[StoredEvent], rows: Mapping[bytes, Row], mark: Mark | None
    ) -> None:
        before = None if self.mark is None else self.mark
        self.oracle |= units.refold(FOLD, events, dict(self.oracle), before).rows
        self.rows |= rows
        self.mark, self.events = mark, (*self.events, *events)
        if events:
            self.head = head_after(events[-1])

    def read(self, key: bytes, rows: Mapping[bytes, Row | None]) -> Row | None:
        row = rows.get(key)
        return row if row is None or self.mark is None else self.mark.apply(row)

    def put(self, letter: str, key: int, rows: Mapping[bytes, Row | None]) -> Change:
        """A change that is decided on a row."""
        happened = event_of(letter, key, self.head.id + 1, self.tokens[key])
        row = self.read(KEYS[key], rows)
        draft = FOLD.evolve(row, happened)
        assert draft is not None
        version = 0 if row is None else row.version
        return Change(happened, Put(KEYS[key], draft, version))

    def units_of(self, letter: str, key: int) -> list[Unit] | None:
        """What a call appends; None where it appends nothing."""
        row, other = (self.read(one, self.rows) for one in (KEYS[key], KEYS[1]))
        n = self.head.id + 1
        if letter == "K":
            return [Unit([Change(event_of("K", 0, n, "generated"))])]
        if letter == "S":
            return self._swept(n)
        if letter in "GR":
            if row is None or not row.live or other is not None or KEYS[1] in self.oracle:
                return None
            return [Unit([self.put(letter, 0, self.rows), self.put("c", 1, self.rows)])]
        if letter == "C":
            return (
                None
                if row is not None or self.refuses(key, self.rows)
                else [Unit([self.put("C", key, {})])]
            )
        if letter == "e" and row is not None and isinstance(state_of(row), Session):
            return [Unit([self.put("e", key, self.rows)])]
        if row is None or not row.live or letter not in ("T", "E"):
            return None
        return [Unit([self.put(letter, key, self.rows)])]

    def _swept(self, n: int) -> list[Unit] | None:
        """An end for each row that the mark ended, and then what lifts it."""
        if self.mark is None:
            return None
        of_mark = [
            k for k, key in enumerate(KEYS) if (row := self.rows.get(key)) is not None and row.live
            and row.created < self.mark.id
        ]  # fmt: skip
        ends = [Unit([self.put("E", key, self.rows)]) for key in of_mark]
        lift = LogEvent(*encode_event(EverybodyEnded(self.mark.id)), {}, n)
        return [*ends, Unit([Change(lift)])]

    def refuses(self, key: int, rows: dict[bytes, Row]) -> bool:
        """Whether a creation with this token, which was used, is refused."""
        state = units.BatchState(self.head, rows, mark=self.mark)
        return units._conflict(_creation(key, self.tokens[key]), state, FOLD) is not None

    # -- compacting

    def cuts(self) -> set[int]:
        """The events up to which all may be removed, wherever a consumer's cursor is."""
        found = set()
        for last in range(self.cut.id + 1, self.head.id + 1):
            choice = Choice(SESSIONS_TOPIC, self.cut.head, FOLD, Limits(LATER, LATER, last))
            choice.see(event for event in self.events if event.id > self.cut.id)
            found.add(choice.removal.head.id if self.rules.marks_are_lifted_first else last)
        return found - {self.cut.id}

    def clean(self) -> None:
        """What a compaction begins with: it removes what another one left."""
        self.staged, self.decided = None, dict(self.rows)
        for key in KEYS:
            self.forget(key)
        self.events = tuple(event for event in self.events if event.id > self.cut.id)

    def stage(self, cut: int) -> None:
        rows = {} if not self.rules.on_the_base_before else dict(_present(self.base))
        folded = [event for event in self.events if self.cut.id < event.id <= cut]
        units.refold(FOLD, folded, rows, None)
        if not self.rules.as_of_the_cut:
            rows = {key: self.rows.get(key, row) for key, row in rows.items()}
        self.staged = dict(rows)
        if not self.rules.generations:
            self.base = dict(rows)

    def reduce(self, key: bytes, cut: int) -> None:
        assert self.staged is not None
        row, current = self.staged.get(key), self.rows.get(key)
        if row is None or row.live:
            return
        moved = current is not None and current.version != row.version
        if moved and self.rules.only_without_later_events:
            return
        left = self._remains(row)
        if left == FORGOTTEN:
            self.staged[key] = None
            if not self.rules.forgotten_after_the_seal:
                self.rows.pop(key, None)
        elif left is not None:
            version = row.version if self.rules.versions_stay else cut
            self.staged[key] = self.rows[key] = Row.of(key, version, row.created, left)

    def _remains(self, row: Row) -> Draft | Literal["forgotten"] | None:
        active = [
            one for key in KEYS
            if (one := self.read(key, self.rows)) is not None and one.live
            and one.group == row.group is not None
        ]  # fmt: skip
        state = state_of(row)
        if not self.rules.other_states_stay and isinstance(state, Seen | Broken):
            return FORGOTTEN
        left = remains(row, active if self.rules.families_stay else [])
        if isinstance(left, Draft) and not self.rules.only_generated_are_forgotten:
            return FORGOTTEN
        return left

    def seal(self, cut: int) -> None:
        assert self.staged is not None
        base = BaseHash()
        base.see(_present(self.staged).values())
        (last,) = (event for event in self.events if event.id == cut)
        removal = Choice(SESSIONS_TOPIC, head_after(last), FOLD, Limits(0, 0, 0)).removal
        forgotten = list(self.staged.values()).count(None) if self.rules.the_seal_tells else 0
        compaction = Compaction(removal, 1, remains, self.head.id + 1)
        told = seal(compaction, self.cut, base, None, forgotten)
        self.append([Unit([Change(told)])])
        self.cut, self.base, self.staged = Cut(head_after(last), self.head.id), self.staged, None
        self.sealed = _present(self.base)
        if problem_of(self.cut, self.events[-1], base):
            self.fail("the base is not what the seal says")

    def forget(self, key: bytes) -> None:
        """Remove the row of a key that the base does not know any more."""
        if key not in self.base or self.base[key] is not None:
            return
        row = self.rows.pop(key, None)
        if row is not None and row.version > self.cut.id:
            late = [e for e in self.events if e.id > self.cut.id and FOLD.key(e) == key]
            if self.rules.late_events_are_folded:
                self.rows |= units.refold(FOLD, late, {}, None).rows
        del self.base[key]

    def delete(self) -> None:
        self.events = self.events[1:]

    # -- what holds

    def rebuilt(self) -> tuple[dict[bytes, Row], Mark | None]:
        """The rows as folded again."""
        rows = dict(_present(self.base)) if self.rules.rebuilt_from_the_base else {}
        rest = [event for event in self.events if event.id > self.cut.id]
        plan = units.refold(FOLD, rest, rows, None)
        return rows, plan.mark

    def check(self) -> None:
        rows, mark = self.rebuilt()
        if (None if mark is None else mark.id) != (None if self.mark is None else self.mark.id):
            self.fail("a rebuild finds another mark")
        for key in (*KEYS, FORGOTTEN_KEY):
            self._check_key(key, self.rows.get(key), "row")
            self._check_key(key, rows.get(key), "rebuilt")
            self._check_rebuilt(self.rows.get(key), rows.get(key))
        for stored in (self.rows, rows):
            for number, key in enumerate(KEYS):
                if key in self.oracle and not self.refuses(number, stored):
                    self.fail("a used token is free")
        if self.sealed != _present(self.base):
            self.fail("the base is not what was sealed")

    def _check_rebuilt(self, row: Row | None, rebuilt: Row | None) -> None:
        """Rows are fold(base, events), but for what `doctor` accepts of a compaction that was
        interrupted."""
        if row == rebuilt:
            return
        if not self.was_interrupted:
            self.fail("a row is not fold(base, events)")
        if row is None or row.live:
            self.fail("a row is lost, or lives, that is not fold(base, events)")
        elif rebuilt is None and row.version > self.cut.id:
            self.fail("a row is of no event")
        elif rebuilt is not None and not _is_reduced(row, rebuilt):
            self.fail("a row is neither fold(base, events) nor what was left of it")

    def _check_key(self, key: bytes, row: Row | None, which: str) -> None:
        was, now = self.read(key, self.oracle), self.read(key, {key: row})
        if was is None:
            return
        if (now is not None and now.live) != was.live:
            self.fail(f"{which}: lives again, or is gone")
        if was.live and now != was:
            self.fail(f"{which}: differs while it is live")
        if now is not None and isinstance(_state(now.state), Session | Tombstone):
            versions = (now.version, now.created), (was.version, was.created)
            is_known = isinstance(_state(was.state), Session) and bool(self.base.get(key))
            if is_known and versions[0] != versions[1]:
                self.fail(f"{which}: has another version")
        self._check_reuse(was, now, which)

    def _check_reuse(self, was: Row, now: Row | None, which: str) -> None:
        state = _state(was.state)
        if not isinstance(state, Session) or not is_reuse(state, at(LATER)):
            return
        others = (self.read(key, self.oracle) for key in KEYS if key != was.key)
        live = [_state(one.state) for one in others if one is not None and one.live]
        lives = [one for one in live if isinstance(one, Session)]
        is_noticed = now is not None and is_reuse(_state(now.state), at(LATER))
        if not is_noticed and family_of(state) in map(family_of, lives):
            self.fail(f"{which}: reuse is not noticed, and the family lives")

    def fail(self, problem: str) -> None:
        raise Fault(f"{problem}; tokens {self.tokens}:{self.path}")


@cache
def _creation(key: int, token: Token) -> Unit:
    """A creation by our code. A supplied token may have the shape of a generated one."""
    put = Put(KEYS[key], Draft("mallory", 0, True, b"x"), 0)
    reads = [(FORGOTTEN_KEY, 0)] if token == "generated" else []
    return Unit([Change(event_of("D", key, 1, "supplied"), put)], reads=reads)


@cache
def _state(state: bytes) -> State:
    return state_of(Row(b"", 0, 0, "", 0, False, state))


def _present(entries: Mapping[bytes, Row | None]) -> dict[bytes, Row]:
    return {key: row for key, row in sorted(entries.items()) if row is not None}


@dataclass
class Search:
    """Walks all ways, and counts what it saw."""

    rules: Rules = Rules()
    seen: set[int] = field(default_factory=set)
    histories: int = 0
    states: int = 0

    def from_history(
        self, steps: Sequence[tuple[str, int]], tokens: tuple[Token, ...], rounds: int
    ) -> None:
        """Every way on from a history, given by a letter and a key for each unit."""
        world = World(tokens, self.rules)
        for letter, key in steps:
            if not call(world, letter, key):
                return
        self.histories += 1
        self.check(world)
        self.compact(world, rounds)

    def check(self, world: World) -> None:
        self.states += 1
        world.check()

    def compact(self, world: World, rounds: int) -> None:
        """Every compaction of the world, with all that may happen meanwhile and afterwards."""
        before = world.copy()
        before.clean()
        self.check(before)
        for cut in sorted(before.cuts()) if rounds else ():
            self.go_on(before.copy(f"cut@{cut}"), _steps(before, cut), rounds, is_alone=True)

    def go_on(
        self, world: World, steps: Sequence[tuple[str, Any]], rounds: int, *, is_alone: bool
    ) -> None:
        """The rest of a compaction: it goes on, it is killed, or somebody appends first."""
        # A hash is enough to know it again: there are few of them, for 64 bits.
        code = hash((world.code, tuple(name for name, _ in steps), rounds, is_alone))
        if code in self.seen:
            return None
        self.seen.add(code)
        if is_alone:
            for other in _appended(world):
                self.check(replace(other, was_interrupted=bool(steps) or other.was_interrupted))
                self.go_on(other, steps, rounds, is_alone=False)
        if not steps:
            return self.compact(world, rounds - 1)
        if rounds > 1:
            killed = world.copy("kill")
            killed.was_interrupted = True
            self.compact(killed, rounds - 1)
        (name, argument), *rest = steps
        after = world.copy(name)
        getattr(after, name)(*argument)
        if not rest:
            self.check(after)  # with nothing left behind, unless a compaction before was killed
        interrupted = replace(after, was_interrupted=True)
        self.check(interrupted)
        self.go_on(after, rest, rounds, is_alone=is_alone)
        return None


def _steps(world: World, cut: int) -> list[tuple[str, Any]]:
    reduced = [("reduce", (key, cut)) for key in (*KEYS, FORGOTTEN_KEY)]
    removed = [("delete", ()) for event in world.events if event.id <= cut]
    forgotten = [("forget", (key,)) for key in KEYS]
    return [("stage", (cut,)), *reduced, ("seal", (cut,)), *forgotten, *removed]


def call(world: World, letter: str, key: int) -> bool:
    """One call, or what another program appends; whether it changed anything."""
    world.path += f" {letter}{key}"
    if letter in "DMx":
        if world.cut.id:
            return False
        foreign = "E" if letter == "x" else letter
        world.append_foreign(event_of(foreign, key, world.head.id + 1, "supplied"))
        return True
    made = world.units_of(letter, key)
    return made is not None and world.append(made)


def _appended(world: World) -> Iterator[World]:
    """The world after each unit that somebody may append now."""
    for key in (0, 1):
        for letter in "TEeGRx" if key == 0 else "TEex":
            other = world.copy()
            if call(other, letter, key):
                yield other
        # An end that was decided before the compaction began.
        row = world.decided.get(KEYS[key])
        if row is not None:
            other = world.copy(f"late-e{key}")
            change = other.put("e", key, world.decided)
            if not world.rules.writes_are_compared and change.put is not None:
                change = Change(change.event, Put(KEYS[key], change.put.draft, None))
            other.append([Unit([change])])
            yield other
    for letter in "KS":
        other = world.copy()
        if call(other, letter, 0):
            yield other
