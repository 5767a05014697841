"""How sessions end: what ends one, and at which time.

1. An end is final by its order in the log, not by its time. So it holds for everybody at once,
   whatever their clocks say, and no clock is asked whether there is anything to end.
2. What ends a session ends it as long as it has no end of its own. Whether it lapsed does not
   matter: by the clock of another process it may be live.
3. The time of an end is now, or the end that the session had before if that came first.
4. Clocks of processes differ. What would harm somebody if a clock were ahead waits for
   `CLOCK_TOLERANCE` more.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from sessionledger.core.events import Cause, Expired
from sessionledger.core.instant import earlier_by, instant_or
from sessionledger.core.policy import Policy
from sessionledger.core.session import Session, State, Tombstone
from sessionledger.core.token import Handle

CLOCK_TOLERANCE = timedelta(minutes=1)
"""By how much the clocks of two processes may differ before either is taken to be wrong."""


class Expire(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """End a session; `expired_at` defaults to now, or to the end that it had before.

    if_version: ends a live session at that version only.
    """

    cause: Cause
    expired_at: object = None
    if_version: object = None


def decide_expire(state: State, handle: Handle, command: Expire, now: datetime) -> Expired | None:
    """One `Expired`, or None for an unknown handle and a session that was ended before.

    A time that was given is recorded in any case: it may be earlier than the recorded one.
    """
    expired_at = instant_or("expired_at", command.expired_at, now)
    if state is None or isinstance(state, Tombstone):
        return None
    if isinstance(state, Session) and command.expired_at is None:
        return None if state.ended_at is not None else end_of(state, now, command.cause)
    cause = command.cause
    if isinstance(state, Session) and state.cause == "everybody":
        # The reference does not know the mark that ended it before.
        expired_at, cause = min(expired_at, state.expires_at), "everybody"
    return Expired(expired_at=expired_at, token_handle=handle, cause=cause)


def decide_end_all(
    sessions: Iterable[Session], but: Handle | None, now: datetime, cause: Cause
) -> list[Expired]:
    """The ends of sessions, but for one."""
    return [end_of(session, now, cause) for session in sessions if session.handle != but]


def decide_sweep(state: State, handle: Handle, now: datetime, policy: Policy) -> Expired | None:
    """One `Expired` at the end that the session had, or None while that is too recent."""
    if not isinstance(state, Session) or state.ended_at is not None:
        return None
    if state.expires_at >= sweepable_before(now, policy):
        return None
    return Expired(expired_at=state.expires_at, token_handle=handle, cause="lapsed")


def sweepable_before(now: datetime, policy: Policy) -> datetime:
    """Sessions with an end before this have lapsed for long enough to be swept."""
    return earlier_by(now, policy.sweep_margin)


def end_of(session: Session, now: datetime, cause: Cause, selection: int | None = None) -> Expired:
    """The end of a session now, or at the end that it had before if that came first."""
    end = min(now, session.expires_at)
    return Expired(end, session.handle, cause, selection=selection)
