"""What a store should answer, told with plain dicts and none of the store's own code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

TTL = timedelta(hours=1)
IDLE = timedelta(minutes=20)
GRACE = timedelta(seconds=30)
INTERVAL = timedelta(minutes=10)
MARGIN = timedelta(minutes=5)
TOLERANCE = timedelta(minutes=1)
MINUTE = timedelta(minutes=1)
MOST_SUCCESSORS = 8

LIMIT = "session_limit_reached"
TOO_OFTEN = "rotation_limit_reached"


@dataclass(frozen=True)
class Rules:
    """What is allowed just now."""

    idle: timedelta | None = None
    absolute: timedelta | None = None
    most: int | None = None
    evicts: bool = False
    revokes: bool = True
    family: int = 32
    turns: int = 30


@dataclass
class Known:
    """A session as the model has it. Sessions are named by their tokens here."""

    token: str
    principal: str
    created: int
    created_at: datetime
    expires_at: datetime
    deadline: datetime | None
    last_seen_at: datetime
    attributes: dict[str, Any] = field(default_factory=dict)
    idle: timedelta | None = None
    ended_at: datetime | None = None
    cause: str | None = None
    proved_at: datetime | None = None
    external_id: str | None = None
    family: str | None = None
    successors: list[str] = field(default_factory=list)
    superseded: bool = False
    turns: tuple[datetime, ...] = ()
    version: int = 0
    story: list[tuple[datetime, Known]] = field(default_factory=list)
    unmarked: Known | None = None

    @property
    def name(self) -> str:
        """What its family goes by."""
        return self.family or self.token

    def live(self, at: datetime) -> bool:
        return self.ended_at is None and at < self.expires_at

    def reused(self, at: datetime) -> bool:
        over = (self.deadline or self.expires_at) + TOLERANCE <= at
        on_purpose = self.cause in ("revoked", "signed_out", "everybody")
        return bool(self.successors) and not on_purpose and (over or self.cause == "rotated")


class Model:
    """Sessions by their token, and how many events that took."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.sessions: dict[str, Known] = {}
        self.events = 0
        self.marks: list[int] = []
        self.marked = False

    def create(
        self,
        token: str,
        principal: str,
        now: datetime,
        end: datetime | None,
        attributes: Any,
        external_id: str | None = None,
    ) -> str | None:
        """The error's code, None when it was created."""
        surplus = self._surplus(principal, now)
        if surplus is None:
            return LIMIT
        self._make_room(surplus, now)
        expires_at, deadline = self._life(now, end)
        known = Known(
            token=token,
            principal=principal,
            created=self.events + 1,
            created_at=now,
            expires_at=expires_at,
            deadline=deadline,
            last_seen_at=now,
            attributes=attributes,
            idle=self.rules.idle,
            external_id=external_id,
        )
        self._happened(known, now)
        return None

    def touch(
        self, token: str, now: datetime, seen: datetime | None, end: datetime | None, new: Any
    ) -> bool:
        """Whether the session was live and is touched."""
        known, at = self.sessions[token], now if seen is None else seen
        if not known.live(at):
            return False
        known.superseded = known.superseded and at <= known.last_seen_at
        known.last_seen_at = max(known.last_seen_at, at)
        if new is not None:
            known.attributes = new
        if end is None and seen is None:
            end = self._slid(known, at)
        if end is not None:
            known.expires_at = end if known.deadline is None else min(end, known.deadline)
        self._happened(known, now)
        return True

    def authenticate(self, token: str, now: datetime) -> bool:
        """Whether the session is live; reuse ends its family."""
        known = self.sessions[token]
        if known.reused(now):
            self._reuse(known, now)
        spans = [INTERVAL]
        spans += [idle / 10 for idle in (known.idle, self.rules.idle) if idle is not None]
        if known.live(now) and now - known.last_seen_at >= min(spans):
            self.touch(token, now, None, None, None)
        return known.live(now)

    def reauthenticate(self, token: str, now: datetime) -> bool:
        known = self.sessions[token]
        if not known.live(now):
            return False
        known.proved_at = now
        return self.touch(token, now, None, None, None)

    def patch(self, token: str, changes: dict[str, Any], now: datetime) -> bool:
        """Whether the session was live, and has the changes now."""
        known = self.sessions[token]
        if not known.live(now):
            return False
        reached = [known]
        if known.successors:
            reached += [one for one in self._family(known) if one is not known]
        for one in reached:
            both = one.attributes | changes
            after = {name: value for name, value in both.items() if value is not None}
            if after != one.attributes:
                one.attributes = after
                self._happened(one, now)
        return True

    def rotate(
        self, token: str, principal: str | None, grace: timedelta | None, now: datetime
    ) -> str | Callable[[str], None] | None:
        """The error's code; or what gives the successor its token; None for nothing."""
        old = self.sessions[token]
        if old.reused(now):
            self._reuse(old, now)
        newest = self._newest(old, now)
        if newest is None:
            return None
        stays = principal in (None, old.principal)
        if stays and len(old.successors) >= MOST_SUCCESSORS:
            return LIMIT
        whom = old.principal if principal is None else principal
        surplus = [] if stays else self._surplus(whom, now)
        if surplus is None:
            return LIMIT
        turns = self._turns(old, now) if stays else ()
        if turns is None:
            return TOO_OFTEN
        successor = replace(
            newest,
            principal=whom,
            expires_at=self._slid(newest, now) or newest.expires_at,
            last_seen_at=max(now, newest.last_seen_at),
            attributes=deepcopy(newest.attributes),
            proved_at=old.proved_at if stays else now,
            family=old.name if stays else None,
            successors=[],
            superseded=False,
            turns=turns,
            story=[],
        )

        def happen(fresh: str) -> None:
            self._make_room(surplus, now)
            if stays:
                self._bound(old, now)
            self._restrict(old, fresh if stays else None, GRACE if grace is None else grace, now)
            self._happened(replace(successor, token=fresh, created=self.events + 1), now)

        return happen

    def change_credentials(
        self, token: str, now: datetime, *, presented: bool
    ) -> Callable[[str], None] | None:
        """What gives the successor its token; None for nothing."""
        old = self.sessions[token]
        if presented and old.reused(now):
            self._reuse(old, now)
        newest = self._newest(old, now)
        if newest is None:
            return None
        others = [one for one in self._active(old.principal) if one is not old]
        successor = replace(
            newest,
            expires_at=self._slid(newest, now) or newest.expires_at,
            last_seen_at=max(now, newest.last_seen_at),
            attributes=deepcopy(newest.attributes),
            proved_at=now,
            family=None,
            successors=[],
            superseded=False,
            turns=(),
            story=[],
        )

        def happen(fresh: str) -> None:
            self._end_all(others, now, "revoked")
            self._end(old, None, now, "rotated")
            self._happened(replace(successor, token=fresh, created=self.events + 1), now)

        return happen

    def log_out_everywhere(self, token: str, now: datetime) -> int:
        """How many log ins ended."""
        known = self.sessions[token]
        if known.reused(now):
            self._reuse(known, now)
            return 0
        if known.ended_at is not None:
            return 0
        ended = self._active(known.principal)
        self._end_all(ended, now, "signed_out")
        return len({one.name for one in ended})

    def _newest(self, old: Known, now: datetime) -> Known | None:
        """What stands for the family of a session; None where that is over."""
        family = [one for one in self._family(old) if one.live(now)]
        leaves = [one for one in family if not one.successors] if old.successors else [old]
        if not old.live(now) or not leaves:
            return None
        return max(leaves, key=lambda one: one.version)

    def expire(self, token: str, now: datetime, at: datetime | None, cause: str) -> None:
        known = self.sessions[token]
        family = self._family(known) if known.family or known.successors else []
        self._end_all([one for one in family if one is not known], now, cause)
        if known.ended_at is None or at is not None:
            self._end(known, at, now, cause)

    def revoke_all(
        self, now: datetime, principal: str | None, external_id: str | None, keep: Iterable[str]
    ) -> int:
        """How many log ins ended."""
        which = [
            one
            for one in self._in_order()
            if one.ended_at is None
            and (one.principal == principal if principal else one.external_id == external_id)
        ]
        kept = [one for one in which if one.token in keep and not one.successors]
        ended = [one for one in which if one not in kept]
        self._end_all(ended, now, "revoked")
        return len({one.name for one in ended} - {one.name for one in kept})

    def revoke_everybody(self, now: datetime) -> int:
        """The event of the mark: what is active ends, and has yet to get an end of its own."""
        self.events += 1
        self.marks.append(self.events)
        self.marked = True
        for one in self.sessions.values():
            if one.unmarked is not None:
                one.story.pop()
                one.expires_at, one.ended_at = one.unmarked.expires_at, None
            if one.ended_at is None:
                one.unmarked = replace(one, story=[])
                one.cause, one.version = "everybody", self.events
                one.ended_at = one.expires_at = min(now, one.expires_at)
                one.story.append((now, replace(one, story=[], successors=list(one.successors))))
        return self.events

    def sweep(self, now: datetime, limit: int, order: Callable[[Known], Any]) -> int:
        """How many were ended, the first in the order that is given."""
        swept = self._end_marked(now, limit, order) if self.marked else 0
        return swept + self._sweep(now, limit - swept, order)

    def _end_marked(self, now: datetime, limit: int, order: Callable[[Known], Any]) -> int:
        marked = [one for one in self.sessions.values() if one.unmarked is not None]
        marked.sort(key=lambda one: order(one.unmarked or one))
        for one in marked[:limit]:
            self._end(one, one.expires_at, now, "everybody")
        if len(marked) < limit:
            self.events += 1
            self.marked = False
        return len(marked[:limit])

    def _sweep(self, now: datetime, limit: int, order: Callable[[Known], Any]) -> int:
        lapsed = [
            one
            for one in self.sessions.values()
            if one.ended_at is None and one.expires_at < now - MARGIN
        ]
        swept = sorted(lapsed, key=order)[:limit]
        for one in swept:
            self._end(one, one.expires_at, now, "lapsed")
        return len(swept)

    def of(
        self, principal: str | None, now: datetime | None, *, superseded: bool = True
    ) -> list[str]:
        """The tokens of a principal, or of all, oldest first; all or those live now."""
        return [
            known.token
            for known in self._in_order()
            if principal in (None, known.principal)
            and (now is None or known.live(now))
            and (superseded or not (known.superseded or known.successors))
        ]

    def called(self, external_id: str, now: datetime | None) -> list[str]:
        """The tokens of sessions with an external id, oldest first."""
        found = [self.sessions[token] for token in self.of(None, now)]
        return [known.token for known in found if known.external_id == external_id]

    def as_of(self, token: str, at: datetime) -> Known | None:
        """The session as it was then, None where it had not begun."""
        told: Known | None = None
        skipped = False
        for happened, state in self.sessions[token].story:
            if happened > at:
                skipped = True
            elif told is None or not skipped:
                told = state
            else:
                # An end from before what was skipped: it tells nothing else of that.
                told = replace(
                    told,
                    expires_at=state.expires_at,
                    ended_at=state.ended_at,
                    cause=state.cause,
                    version=state.version,
                )
        return told

    def _life(self, now: datetime, end: datetime | None) -> tuple[datetime, datetime | None]:
        idle, absolute = self.rules.idle, self.rules.absolute
        limit = None if absolute is None else now + absolute
        if idle is None:
            end = now + TTL if end is None else end
            return (end if limit is None else min(end, limit)), limit
        deadline = end or limit or now + TTL
        deadline = deadline if limit is None else min(deadline, limit)
        return min(deadline, now + idle), deadline

    def _slid(self, known: Known, now: datetime) -> datetime | None:
        if known.deadline is None or known.idle is None:
            return None
        idle = known.idle if self.rules.idle is None else min(known.idle, self.rules.idle)
        return min(max(known.expires_at, now + idle), known.deadline)

    def _surplus(self, principal: str, now: datetime) -> list[Known] | None:
        """Who makes room for one more session of a principal; None where nobody has to."""
        most = self.rules.most
        active = self._active(principal)
        active.sort(key=lambda one: one.created_at)
        families: dict[str, list[Known]] = {}
        for one in active:
            families.setdefault(one.name, []).append(one)
        if most is None or len(families) < most:
            return []
        lapsed = [one for one in families.values() if not any(of.live(now) for of in one)]
        live = [one for one in families.values() if one not in lapsed]
        if len(live) >= most and not self.rules.evicts:
            return None
        surplus = (lapsed + live)[: len(families) - most + 1]
        return [one for family in surplus for one in family]

    def _active(self, principal: str) -> list[Known]:
        """Those that were not ended, lapsed or not: by another clock they may be live."""
        mine = [one for one in self._in_order() if one.principal == principal]
        return [one for one in mine if one.ended_at is None]

    def _family(self, known: Known) -> list[Known]:
        active = self._active(known.principal)
        return [one for one in active if one.name == known.name]

    def _turns(self, old: Known, now: datetime) -> tuple[datetime, ...] | None:
        """When the family was rotated within a minute, and now; None where that is too often."""
        family = [old, *self._family(old)]
        at = sorted({turn for one in family for turn in one.turns if turn > now - MINUTE})
        if len(at) >= self.rules.turns:
            return None
        return (*at, max(now, at[-1] + timedelta.resolution) if at else now)

    def _bound(self, old: Known, now: datetime) -> None:
        """End the surplus of a family that gets one more, and hide the rest behind that."""
        others = [one for one in self._family(old) if one is not old]
        stand = [one for one in others if not (one.successors or one.superseded)]
        over = [one for one in others if one not in stand and one.expires_at <= now - MINUTE]
        rest = [one for one in others if one not in over]
        oldest_first = [one for one in rest if one not in stand] + stand
        surplus = oldest_first[: max(0, len(rest) + 2 - self.rules.family)]
        self._make_room(over + surplus, now)
        for one in stand:
            if one not in surplus:
                one.superseded = True
                self._happened(one, now)

    def _restrict(self, old: Known, successor: str | None, grace: timedelta, now: datetime) -> None:
        end = min(old.expires_at, now + grace)
        old.successors = old.successors + ([] if successor is None else [successor])
        if not grace:
            if successor is not None:
                old.deadline = now if old.deadline is None else min(old.deadline, now)
            self._end(old, now, now, "rotated")
            return
        old.expires_at = old.deadline = end
        old.last_seen_at = max(now, old.last_seen_at)
        self._happened(old, now)

    def _reuse(self, known: Known, now: datetime) -> None:
        if not self.rules.revokes:
            return
        family = self._family(known)
        self._end_all([one for one in family if one is not known], now, "reused")
        known.superseded = True
        known.successors = []
        self._end(known, None, now, "reused")

    def _make_room(self, which: Iterable[Known], now: datetime) -> None:
        for one in list(which):
            self._end(one, None, now, "evicted" if one.live(now) else "lapsed")

    def _end_all(self, which: Iterable[Known], now: datetime, cause: str) -> None:
        for one in list(which):
            if cause == "reused":
                one.superseded = one.superseded or bool(one.successors)
                one.successors = []
            self._end(one, None, now, cause)

    def _end(self, known: Known, at: datetime | None, now: datetime, cause: str) -> None:
        at = min(now, known.expires_at) if at is None else at
        was_marked = known.unmarked is not None
        known.cause = cause if known.ended_at is None else known.cause
        known.ended_at = at if known.ended_at is None else min(known.ended_at, at)
        known.expires_at = min(known.expires_at, at)
        self._happened(known, now)
        if was_marked:
            # It was over when the mark came.
            since = max(known.story[0][0], known.expires_at)
            known.story[-1] = (since, known.story[-1][1])

    def _happened(self, known: Known, now: datetime) -> None:
        self.events += 1
        known.version = self.events
        if known.unmarked is not None:
            # Its own end is told instead of the mark.
            known.story.pop()
            known.unmarked = None
        self.sessions[known.token] = known
        known.story.append((now, replace(known, story=[], successors=list(known.successors))))

    def _in_order(self) -> list[Known]:
        return sorted(self.sessions.values(), key=lambda known: known.created)
