"""The session as it is seen and folded.

A `Session` is both the state that events fold to and the value that callers get: it holds no
secret, so nothing has to be taken away between the two.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import astuple

from sessionledger.core.token import Handle

ANONYMOUS: Final = "anonymous:"
"""The principal to create an anonymous session with, and what the principals of all begin with."""


class Ancestor(msgspec.Struct, frozen=True, gc=False):
    """A family of sessions that a child session is below, and whom it is for.

    family: the handle of its first session.
    """

    family: Handle
    principal: str


class Session(msgspec.Struct, frozen=True, eq=False, omit_defaults=True, gc=False):
    """A session after the newest event that concerned it.

    handle: its public name. principal: whom it is for. attributes: the application's JSON object,
    a copy of the reader's own. All times are aware datetimes with microseconds and the offset they
    were given with. expires_at: when it ends if nothing happens; deadline: the end that no touch
    can pass, where it carries one. ended_at: when it was ended for good, or None.
    version: id of the newest event that concerned it, 1 or more. idle_timeout: the longest time
    between two touches that it was created with, or None. reauthenticated_at: when its bearer last
    proved again who it is, or None. context: device, address and the like, as last told.
    external_id: the application's own name for it, or None. family: the handle of the session that
    it was rotated from in the beginning, or None; successors: the handles it was rotated into.
    cause: what ended it (see `Cause`); None if it was not ended, or by a damaged event.
    ancestors: what a child session is below, its parent first; empty for any other.
    has_children: whether a child was begun with this very session, and not with its successor.
    superseded_by: the newer session of its family that stands for it though it was not rotated.
    selection: the event of the `revoke_where` that ended it, or None.
    rotations: when its family was rotated within the minute before it began, in microseconds since
    1970 UTC. generated: whether its token is known to be made by this package.
    """

    handle: Handle
    principal: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    attributes: dict[str, Any]
    deadline: datetime | None = None
    ended_at: datetime | None = None
    version: int = 0
    idle_timeout: timedelta | None = None
    reauthenticated_at: datetime | None = None
    context: dict[str, str] = {}
    external_id: str | None = None
    family: Handle | None = None
    successors: tuple[Handle, ...] = ()
    cause: str | None = None
    ancestors: tuple[Ancestor, ...] = ()
    has_children: bool = False

    @property
    def parent(self) -> Handle | None:
        """The family of a child session's parent: the handle of its first session."""
        return self.ancestors[0].family if self.ancestors else None

    superseded_by: Handle | None = None
    rotations: tuple[int, ...] = ()
    selection: int | None = None
    generated: bool = False

    @property
    def is_anonymous(self) -> bool:
        """Whether it is for somebody who is not logged in, or below such a session."""
        above = (one.principal.startswith(ANONYMOUS) for one in self.ancestors)
        return self.principal.startswith(ANONYMOUS) or any(above)

    @property
    def authenticated_at(self) -> datetime:
        """When its bearer last proved who it is: at its creation, or since."""
        return self.reauthenticated_at or self.created_at

    def is_expired_at(self, now: datetime) -> bool:
        """Whether the session is over at that instant, by its expiry or because it was ended."""
        return self.ended_at is not None or self.expires_at <= now

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Session):
            return NotImplemented
        return astuple(self) == astuple(other)

    def __ne__(self, other: object) -> bool:  # msgspec's own would compare identities
        return not self == other

    def __hash__(self) -> int:
        return hash((self.handle, self.version))


class IssuedSession(Session, frozen=True, eq=False, omit_defaults=True, dict=True, gc=True):
    """A session together with its token, given once by `create`.

    The token is no field: `repr`, pickling, copying and JSON leave it out.
    """

    @property
    def token(self) -> str:
        """The bearer secret. Raises `AttributeError` on a copy, which does not have it."""
        try:
            return str(self.__dict__["_token"])
        except KeyError:
            raise AttributeError("a copy of an issued session does not hold its token") from None

    @classmethod
    def of(cls, session: Session, token: str) -> IssuedSession:
        """The session with its token beside it."""
        issued = cls(*astuple(session))
        issued.__dict__["_token"] = token
        return issued


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A handle that was named by an expiry before any creation: it can never be created."""


class Broken(msgspec.Struct, frozen=True, gc=False):
    """A handle that an undecodable event concerned: it fails closed, for good."""


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """What compaction leaves of a session that ended: its handle was used, and is over for good."""


State: TypeAlias = Session | Seen | Broken | Tombstone | None
"""What the events of one handle fold to; None before the first."""
