"""Admin keys: who may do what with the service.

A key is a session in a topic of its own, which nothing that takes the token or the handle of a
session looks at. So it has a history, an expiry, and is refused at the next request after its
revocation.

1. What a key may do stands in its session since its creation, and nothing ever patches it.
2. A key makes only keys that may do no more than itself. Such a key is good for as long as the
   keys above it are: revoking one shuts out all that were made with it.
3. Of the keys of one name one is live. The name is what the history and the access log tell of who
   did something, and a key must not pass for another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import msgspec

from sessionledger import AsyncSessionStore, Excerpt, Policy, Session

SCOPES = (
    "sessions:create",
    "sessions:read",
    "sessions:write",
    "sessions:revoke",
    "introspect",
    "events:read",
)
KEY_POLICY = Policy(
    ttl=timedelta(days=365),
    touch_interval=timedelta(minutes=15),
    max_sessions_per_principal=1,
    on_limit="deny",
)
DEEPEST = 8

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Key(msgspec.Struct, frozen=True):
    """What a key's session says of it. above: the handles of the keys that it was made with."""

    name: str
    handle: str
    scopes: frozenset[str]
    above: tuple[str, ...] = ()


class _Told(msgspec.Struct, frozen=True):
    """What the attributes of a key's session have to be."""

    scopes: frozenset[str]
    above: tuple[str, ...]


class NotAllowed(ValueError):
    """A key that can't be made: the message says why."""


def key_of(session: Session) -> Key | None:
    """The key that a session in the topic of keys is; None where it says nothing of the kind."""
    try:
        told = msgspec.convert(session.attributes, _Told)
    except msgspec.ValidationError:
        return None
    return Key(session.principal, session.handle, told.scopes, told.above)


KEY = Excerpt(key_of)


def new_key(name: str, scopes: Iterable[str], maker: Key | None) -> dict[str, Any]:
    """The attributes of a new key, made by another or by who holds the ledger.

    Raises `NotAllowed`.
    """
    if not _NAME.fullmatch(name):
        raise NotAllowed("a key is named by 1 to 64 letters, digits, '.', '_' and '-'")
    asked = set(scopes)
    if not asked:
        raise NotAllowed("a key needs a scope at least")
    if unknown := asked - set(SCOPES):
        raise NotAllowed(f"unknown scopes: {_listed(unknown)}; there are {', '.join(SCOPES)}")
    above = () if maker is None else (*maker.above, maker.handle)
    if maker is not None and (more := asked - maker.scopes):
        raise NotAllowed(f"a key makes only keys with its own scopes, without {_listed(more)}")
    if len(above) > DEEPEST:
        raise NotAllowed(f"keys are made with keys {DEEPEST} times in a row at most")
    return {"scopes": sorted(asked), "above": list(above)}


async def authenticate_key(store: AsyncSessionStore, token: str | None) -> Key | None:
    """The key that a caller presented; None for whatever is not good."""
    session = await store.authenticate(token)
    key = None if session is None else key_of(session)
    return None if key is None or not await is_below_live(store, key) else key


async def is_below_live(store: AsyncSessionStore, key: Key) -> bool:
    """Whether the keys are live that a key was made with."""
    return await _all_live(store, key.above)


async def is_good(store: AsyncSessionStore, key: Key) -> bool:
    """Whether a key that was good still is."""
    return await _all_live(store, (key.handle, *key.above))


async def _all_live(store: AsyncSessionStore, handles: Iterable[str]) -> bool:
    for handle in handles:
        if await store.find(handle=handle) is None:
            return False
    return True


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
