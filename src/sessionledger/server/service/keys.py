"""Admin keys: who may do what with the service.

A key is a session in a topic of its own, which no route for sessions reads. So it has a history and
an expiry, and it is refused at the first request after its revocation.

1. What a key may do stands in its session from its creation on, and is never patched.
2. A key makes only keys that may do no more than itself. Such a key is good for as long as its
   ancestors are: revoking one shuts out every key that was made with it.
3. Only one key of a name is live. The history and the access log name the key that did something,
   and a key must not pass for another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

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
    "introspect",
    "events:read",
)
KEY_POLICY = Policy(
    ttl=timedelta(days=365),
    touch_interval=timedelta(minutes=15),
    max_sessions_per_principal=1,
    on_limit="deny",
)
MAX_ANCESTORS = 8

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Key(msgspec.Struct, frozen=True):
    """What a key's session says of it. ancestors: the handles of the keys it was made with."""

    name: str
    handle: str
    scopes: frozenset[str]
    ancestors: tuple[str, ...] = ()


class _KeyAttributes(msgspec.Struct, frozen=True):
    """The attributes that the session of a key must have."""

    scopes: frozenset[str]
    ancestors: tuple[str, ...]


class NotAllowed(ValueError):
    """A key that can't be made: the message says why."""


def key_of(session: Session) -> Key | None:
    """The key that a session in the topic of keys stands for; None for one without a key's
    attributes."""
    try:
        attributes = msgspec.convert(session.attributes, _KeyAttributes)
    except msgspec.ValidationError:
        return None
    return Key(session.principal, session.handle, attributes.scopes, attributes.ancestors)


def new_key(name: str, scopes: Iterable[str], maker: Key | None) -> dict[str, Any]:
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
    ancestors = () if maker is None else (*maker.ancestors, maker.handle)
    if maker is not None and (more := wanted - maker.scopes):
        raise NotAllowed(f"a key makes only keys with its own scopes, without {_listed(more)}")
    if len(ancestors) > MAX_ANCESTORS:
        raise NotAllowed(
            f"a key has at most {MAX_ANCESTORS} ancestors: make it with a key that has fewer"
        )
    return {"scopes": sorted(wanted), "ancestors": list(ancestors)}


async def authenticate_key(store: AsyncSessionStore, token: str | None) -> Key | None:
    """The key that a client presented; None for a token that is no good key."""
    session = await store.authenticate(token)
    key = None if session is None else key_of(session)
    return None if key is None or not await ancestors_are_live(store, key) else key


async def ancestors_are_live(store: AsyncSessionStore, key: Key) -> bool:
    """Whether every key is live that a key was made with."""
    return await _all_live(store, key.ancestors)


async def is_good(store: AsyncSessionStore, key: Key) -> bool:
    """Whether a key that was good still is."""
    return await _all_live(store, (key.handle, *key.ancestors))


async def _all_live(store: AsyncSessionStore, handles: Iterable[str]) -> bool:
    for handle in handles:
        if await store.find(handle=handle) is None:
            return False
    return True


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
