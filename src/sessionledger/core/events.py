"""What can happen to a session: three kinds of events, and no others.

The fields are the reference's. A field of ours is left out while unset, so that an event which
uses none of them is byte for byte what the reference would have written. `attributes` is the text
of a JSON object as it is stored, so that nothing is lost in between.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec

CREATED = "session_created"
TOUCHED = "session_touched"
EXPIRED = "session_expired"


class Created(msgspec.Struct, frozen=True):
    """A session began. `deadline` is ours: the end that no touch can pass."""

    attributes: bytes
    created_at: datetime
    expires_at: datetime
    last_seen_at: datetime
    principal: str
    token_handle: str
    deadline: datetime | None = None


class Touched(msgspec.Struct, frozen=True):
    """A session was seen, and perhaps given another expiry or other attributes."""

    attributes: bytes | None
    expires_at: datetime | None
    last_seen_at: datetime
    token_handle: str


class Expired(msgspec.Struct, frozen=True):
    """A session was ended, for good."""

    expired_at: datetime
    token_handle: str


class Malformed(msgspec.Struct, frozen=True):
    """An event of ours by its kind whose payload can't be read; it still names a handle."""

    token_handle: str


SessionEvent: TypeAlias = Created | Touched | Expired
"""What we write."""

Happened: TypeAlias = Created | Touched | Expired | Malformed
"""What we may read."""
