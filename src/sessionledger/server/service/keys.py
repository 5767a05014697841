"""Admin keys: who may do what with the service.

A key is a session in a topic of its own, which no route for sessions reads. So it has a history and
an expiry, and it is refused at the first request after its revocation.

1. What a key may do is its session's `scope`. It stands there from its creation on.
2. A key that is made with another one is its child. So it may do no more, and ends with it.
3. Only one key of a name is live. The history and the access log name the key that did something,
   and a key must not pass for another.
4. A log in to the console is a child of a key, too, and no key: its name can't be a key's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from sessionledger import Policy, Session

if TYPE_CHECKING:  # the command line makes keys, and needs no event loop
    from sessionledger import AsyncSessionStore

SCOPES = (
    "sessions:create",
    "sessions:rotate",
    "sessions:read",
    "sessions:write",
    "sessions:revoke",
    "sessions:revoke_everybody",
    "sessions:erase",
    "introspect",
    "events:read",
    "keys:read",
    "keys:write",
    "webhooks:read",
    "webhooks:write",
)
ENDING = frozenset(("sessions:revoke", "sessions:revoke_everybody"))
"""What these allow is never refused for asking too much: whoever may end a session can end it."""
KEY_POLICY = Policy(
    ttl=timedelta(days=365),
    touch_interval=timedelta(minutes=15),
    unique_principals=True,
    max_child_depth=8,
)

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Key(msgspec.Struct, frozen=True):
    """What a key's session says of it."""

    name: str
    handle: str
    scopes: frozenset[str]


class NotAllowed(ValueError):
    """A key that can't be made: the message says why."""


def key_of(session: Session) -> Key | None:
    """The key that a session in the topic of keys stands for; None for one without scopes, and for
    a log in to the console."""
    if not _NAME.fullmatch(session.principal):
        return None
    match session.attributes:
        case {"scope": str(scope)}:
            return Key(session.principal, session.handle, frozenset(scope.split()))
        # As keys were written before they could be children. One that was made with another key
        # is refused: nothing ended it with that one.
        case {"scopes": [*scopes], "ancestors": []} if all(isinstance(one, str) for one in scopes):
            return Key(session.principal, session.handle, frozenset(scopes))
    return None


def new_key(name: str, scopes: Iterable[str], maker: Key | None) -> dict[str, str]:
    """The attributes of a new key. maker: the key it is made with; None on the command line.

    Raises `NotAllowed`.
    """
    if not _NAME.fullmatch(name):
        raise NotAllowed("a key is named by 1 to 64 letters, digits, '.', '_' and '-'")
    wanted = set(scopes)
    if not wanted:
        raise NotAllowed("a key needs at least one scope")
    if unknown := wanted - set(SCOPES):
        raise NotAllowed(f"unknown scopes: {_listed(unknown)}; there are {', '.join(SCOPES)}")
    if maker is not None and (more := wanted - maker.scopes):
        raise NotAllowed(f"a key makes only keys with its own scopes, without {_listed(more)}")
    return {"scope": " ".join(sorted(wanted))}


async def authenticate_key(store: AsyncSessionStore, token: str | None) -> Key | None:
    """The key that a client presented; None for a token that is no good key."""
    session = await store.authenticate(token)
    return None if session is None else key_of(session)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
