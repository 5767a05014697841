"""What can happen to a session: three kinds of events, and marks, which concern all sessions.

The fields are the reference's. A field of ours is left out while unset, so that an event which
uses none of them is byte for byte what the reference would have written. `attributes` is the text
of a JSON object as it is stored, so that nothing is lost in between. `context` stands in the
event's headers, not in its payload.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import msgspec

from sessionledger.core.session import Ancestor
from sessionledger.core.token import ERASURES_HANDLE, FORGOTTEN_HANDLE

CREATED = "session_created"
TOUCHED = "session_touched"
EXPIRED = "session_expired"
KINDS = frozenset((CREATED, TOUCHED, EXPIRED))

EVERYBODY = "everybody_revoked"
EVERYBODY_ENDED = "everybody_ended"
MARKS = frozenset((EVERYBODY, EVERYBODY_ENDED))
"""Events of no single session, which the reference ignores."""
SELECTED = "selection_revoked"
"""Sessions that met some criteria were about to be ended. It changes none, and says who did it."""
SEALED = "history_sealed"
"""The log removed its oldest events."""
RESTORED = "ledger_restored"
"""The ledger was made from a backup. What happened after the backup is lost."""
ERASURE = "erasure_listed"
"""Events of persons are being replaced by stubs. It lists them."""
FOR_ALL = frozenset((EVERYBODY, SELECTED, RESTORED))
"""Events that `watch` and webhooks tell without a handle."""

Cause: TypeAlias = Literal[
    "revoked",
    "signed_out",
    "lapsed",
    "reused",
    "evicted",
    "rotated",
    "parent_ended",
    "everybody",
]
"""What ended a session. docs/sessions.md says what each word means."""
SIGNED_OUT: Final = "signed_out"


class Created(msgspec.Struct, frozen=True, gc=False):
    """A session began.

    Ours: `authenticated_at`, where the bearer proved who it is at another time than `created_at`;
    `deadline`, the end that no touch can pass; `external_id`, the application's name for it;
    `family`, the first session of those it was rotated from; `idle_timeout`, which it was promised;
    `ancestors`, what a child is below.
    And `rotations`, the latest ones of its family, in microseconds since 1970 UTC. `generated`: the
    token was made by this package. Older events do not say so.
    """

    attributes: bytes
    created_at: datetime
    expires_at: datetime
    last_seen_at: datetime
    principal: str
    token_handle: str
    authenticated_at: datetime | None = None
    deadline: datetime | None = None
    external_id: str | None = None
    family: str | None = None
    idle_timeout: timedelta | None = None
    ancestors: tuple[Ancestor, ...] = ()
    rotations: tuple[int, ...] = ()
    generated: bool = False
    context: Mapping[str, str] = {}


class Touched(msgspec.Struct, frozen=True, gc=False):
    """A session was seen, and perhaps given another expiry or other attributes.

    Ours: `authenticated_at`, when the bearer proved again who it is; `deadline`, a nearer one than
    it had; `successor`, which it was rotated into. `has_children`: it is about to get its first.
    And `superseded_by`, a newer session of its family.
    """

    attributes: bytes | None
    expires_at: datetime | None
    last_seen_at: datetime
    token_handle: str
    authenticated_at: datetime | None = None
    deadline: datetime | None = None
    successor: str | None = None
    has_children: bool = False
    superseded_by: str | None = None
    context: Mapping[str, str] = {}


class Expired(msgspec.Struct, frozen=True, gc=False):
    """A session was ended, for good.

    Ours: `cause`, a `Cause` unless a newer version knows others; `successor`, which it was rotated
    into at that moment. `selection` is the id of the event that says who ended it with others.
    Without a cause its token was presented to end it, as in the reference.
    """

    expired_at: datetime
    token_handle: str
    cause: str = SIGNED_OUT
    successor: str | None = None
    selection: int | None = None


class Everybody(msgspec.Struct, frozen=True, gc=False):
    """Every session that began before this event ended then, for good. It names no handle."""

    revoked_at: datetime
    token_handle: str = ""


class EverybodyEnded(msgspec.Struct, frozen=True, gc=False):
    """Each session that the event `mark` ended has an `Expired` of its own by now."""

    mark: int
    token_handle: str = ""


class Selected(msgspec.Struct, frozen=True, gc=False):
    """So many logins met some criteria, and were about to be ended."""

    counted: int
    token_handle: str = ""


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """The oldest events were removed, and so many generated tokens were forgotten."""

    forgotten: int = 0

    @property
    def token_handle(self) -> str:
        """The handle that stands for all that were forgotten, if any was."""
        return FORGOTTEN_HANDLE if self.forgotten else ""


class Restored(msgspec.Struct, frozen=True, gc=False):
    """The events behind `after` are lost: the ledger was made from a backup that ends there.

    Tokens that were generated meanwhile are known to their bearers, so they count as forgotten.
    """

    after: int = 0
    token_handle: str = FORGOTTEN_HANDLE


class Erasure(msgspec.Struct, frozen=True, gc=False):
    """Some events were erased. Its payload says which."""

    token_handle: str = ERASURES_HANDLE


class Erased(msgspec.Struct, frozen=True, gc=False):
    """An event of an erased session, of which only the handle is left."""

    token_handle: str


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """An event of ours by its kind whose payload can't be read; it still names a handle."""

    token_handle: str


SessionEvent: TypeAlias = Created | Touched | Expired
"""What we write about one session."""

DecodedEvent: TypeAlias = (
    SessionEvent
    | Everybody
    | EverybodyEnded
    | Selected
    | Sealed
    | Restored
    | Erasure
    | Erased
    | Malformed
)
"""What we may read."""
