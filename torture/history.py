"""What may and what must be, by the journal: of each session, its beginning and its ends.

Positions in the journal are times. A call happened at one moment between its two lines, and a call
without an answer happened then, later, or never.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torture.journal import NOTHING, SESSION, Entry

EVERYBODY = "everybody"
STRANGER = "append"
"""A call by which another program ends a session, without a hash."""
NEVER = 1 << 60


class Call(NamedTuple):
    """A call: the positions of its two lines, and the answer's entry, or its beginning's."""

    begun: int
    done: int
    entry: Entry

    @property
    def answered(self) -> bool:
        """Whether it was acknowledged, with a session or without."""
        return self.done != NEVER and self.entry.answer[:1].islower() and not self.is_raw

    @property
    def is_raw(self) -> bool:
        """Whether it raised what is no error of the package."""
        return self.entry.answer.startswith("raw ")


class Ending(NamedTuple):
    """A call that ends sessions: surely, or perhaps, since it was not acknowledged."""

    begun: int
    done: int
    sure: bool


class Known:
    """A session that a call began, or may have begun."""

    def __init__(
        self, handle: str, family: str, values: str, scopes: frozenset[str], begun: int
    ) -> None:
        self.handle = handle
        self.family = family
        self.values = values
        """The first session that it has its attributes from."""
        self.scopes = scopes
        self.begun = begun
        self.made = NEVER
        """When somebody was first told that it is there."""
        self.dead = NEVER
        """When somebody was first told that it had ended."""


class History:
    """The calls of a journal, and what they say of each session."""

    def __init__(self, entries: Sequence[Entry], *, may_fail: bool = False) -> None:
        """may_fail: calls may find the ledger unavailable. Then reuse is reported, and ends nothing
        for sure: a request is answered all the same."""
        self._unsure = {"reuse"} if may_fail else set()
        self.calls = list(calls_of(entries))
        self.known: dict[str, Known] = {}
        self.endings: dict[str, list[Ending]] = defaultdict(list)
        self.half: list[tuple[str, Ending]] = []
        """Endings of many that were never answered: all of it happened, or nothing."""
        for call in sorted(self.calls, key=lambda call: call.begun):
            self._begin(call)
        for call in self.calls:
            self._end(call)
        for call in sorted(self.calls, key=lambda call: call.done):
            self._see(call)

    def must_be_over(self, known: Known, at: int) -> bool:
        """Whether an end of the session was answered before that moment."""
        return any(e.sure and e.done < at and known.made < e.begun for e in self._endings(known))

    def may_be_over(self, known: Known, at: int) -> bool:
        """Whether a call that can have ended the session began before that moment."""
        return any(e.begun < at and e.done > known.begun for e in self._endings(known))

    def endings_of(self, known: Known) -> list[Ending]:
        """The calls that may have ended the session."""
        return [e for e in self._endings(known) if e.done > known.begun]

    def _endings(self, known: Known) -> Iterator[Ending]:
        for scope in known.scopes:
            yield from self.endings[scope]

    def _begin(self, call: Call) -> None:
        entry = call.entry
        if entry.call == "create":
            above = self.known.get(entry.parent)
            scopes = above.scopes if above else frozenset({EVERYBODY})
            self._add(call, entry.handle, entry.handle, entry.handle, scopes)
        elif entry.issued:
            old = self.known[entry.handle]
            if entry.call == "rotate":
                self._add(call, entry.issued, old.family, old.values, old.scopes)
            else:
                self._add(call, entry.issued, entry.issued, old.values, frozenset({EVERYBODY}))

    def _add(
        self, call: Call, handle: str, family: str, values: str, above: frozenset[str]
    ) -> None:
        own = {f"handle {handle}", f"family {family}", f"principal {call.entry.principal}"}
        scopes = own.union(scope for scope in above if not scope.startswith("handle "))
        before = self.known.get(handle)
        if before is None or call.begun < before.begun:
            self.known[handle] = Known(handle, family, values, frozenset(scopes), call.begun)

    def _end(self, call: Call) -> None:
        for scope in self._scopes_ended(call):
            is_sure = call.answered and _is_sure(call.entry)
            is_sure = is_sure and call.entry.call not in self._unsure
            # A stranger's end of a session that was rotated concerns nobody else.
            is_sure = is_sure and not (call.entry.call == STRANGER and scope.startswith("family "))
            ending = Ending(call.begun, call.done, is_sure)
            self.endings[scope].append(ending)
            if not call.answered and not scope.startswith("handle "):
                self.half.append((scope, ending))

    def _scopes_ended(self, call: Call) -> Iterator[str]:
        """What a call ends if it takes place."""
        entry = call.entry
        known = self.known.get(entry.handle)
        match entry.call:
            case "append" if known:
                yield f"handle {known.handle}"
                yield f"family {known.family}"
            case "expire" | "revoke" if known:
                yield f"family {known.family}"
            case "reuse" | "authenticate" if known and entry.answer != SESSION:
                yield f"family {known.family}"
            case "rotate" | "change_credentials" if known:
                yield from _scopes_replaced(entry, known)
            case "create" if entry.answer != SESSION and entry.parent in self.known:
                # A parent's token that was replaced is one that is presented again.
                yield f"family {self.known[entry.parent].family}"
            case "log_out" | "revoke_all" | "revoke_where":
                yield f"principal {entry.principal}"
            case "revoke_everybody":
                yield EVERYBODY

    def _see(self, call: Call) -> None:
        """A call that answered a session, or None, saw whether it lives."""
        handle = call.entry.issued or call.entry.handle
        known = self.known.get(handle)
        if known is None or call.done == NEVER:
            return
        if call.entry.answer == SESSION:
            known.made = min(known.made, call.done)
        elif call.entry.answer == NOTHING and known.made < call.begun:
            known.dead = min(known.dead, call.done)


def calls_of(entries: Sequence[Entry]) -> Iterator[Call]:
    """Pair the beginnings with the answers."""
    open_calls: dict[tuple[int, int], tuple[int, Entry]] = {}
    for position, entry in enumerate(entries):
        key = (entry.writer, entry.number)
        if entry.answer:
            yield Call(open_calls.pop(key)[0], position, entry)
        else:
            open_calls[key] = (position, entry)
    for position, entry in open_calls.values():
        yield Call(position, NEVER, entry)


def _scopes_replaced(entry: Entry, known: Known) -> Iterator[str]:
    """A token was replaced; or it had been before, and presenting it again ends its family."""
    if entry.answer != NOTHING:
        is_alone = entry.call == "rotate"
        yield f"handle {known.handle}" if is_alone else f"principal {entry.principal}"
    if entry.answer != SESSION:
        yield f"family {known.family}"


def _is_sure(entry: Entry) -> bool:
    """Whether the answer means that the sessions ended."""
    match entry.call:
        case "log_out":
            return entry.count > 0
        case "rotate" | "change_credentials" | "authenticate" | "create":
            return entry.answer == SESSION
    return True
