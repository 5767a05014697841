"""An engine for `request.session`: `SESSION_ENGINE = "sessionledger.integrations.django.sessions"`.

1. The key in Django's cookie is the token. Only its hash is stored.
2. Each value stands in an array of its own in the attributes. Saving patches the values that
   changed. So concurrent requests lose nothing of each other, and a value is replaced whole.
3. A session belongs to the user who is logged in, by the text of the primary key; before that, to
   a visitor of its own.
4. What ended stays ended: saving it is Django's `UpdateError`, and nothing comes back.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError

from sessionledger import DuplicateSession, InvalidSession, Session
from sessionledger.integrations.django.configuration import engine_store
from sessionledger.integrations.request_session import actor_of
from sessionledger.secrecy import without_locals, without_tokens

VISITOR = "visitor:"
"""How the principal of a session begins that belongs to nobody yet."""


class SessionStore(SessionBase):
    """The session of one request, as Django's own engines are."""

    _session_key: str | None

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._principal: str | None = None
        self._stored: dict[str, str] = {}

    def load(self) -> dict[str, Any]:
        """The data; empty, and without a key, for whatever is not live."""
        session = engine_store().authenticate(self.session_key)
        if session is None:
            self._session_key = None
            self._forget()
            return {}
        data = data_of(session)
        self._principal, self._stored = session.principal, texts_of(data)
        return data

    @without_locals
    def exists(self, session_key: str) -> bool:
        """Whether there is a live session by that key."""
        with suppress(InvalidSession):
            return engine_store().get(session_key) is not None
        return False

    def create(self) -> None:
        """A new session, without data."""
        self._session_cache: dict[str, Any] = {}
        self._begin({})
        self.modified = True

    def save(self, must_create: bool = False) -> None:
        """Write what was changed. Raises `UpdateError` for a session that has ended meanwhile."""
        if self._age() <= timedelta(0):
            self.delete()
            return
        if must_create or self.session_key is None:
            self._begin(self._get_session(no_load=must_create))
            return
        data = self._get_session()
        if _owner(data) not in (None, self._principal):
            # It is somebody's now. A token that was known before is not theirs.
            self.delete()
            self._begin(data)
            return
        self._patch(texts_of(data))

    def cycle_key(self) -> None:
        """End the session and go on with its data under another key, from when it is saved."""
        data = self._session
        self.delete()
        self._session_key = None
        self._forget()
        self._session_cache = data
        self.modified = True

    async def acycle_key(self) -> None:
        """As `cycle_key`."""
        await asyncio.to_thread(self.cycle_key)

    @without_locals
    def delete(self, session_key: str | None = None) -> None:
        """End a session: the one by that key, or this."""
        key = session_key or self.session_key
        if key is not None:
            with suppress(InvalidSession):
                who = None if self._principal is None else actor_of(self._principal)
                engine_store().expire(key, reason="ended by the application", actor=who)

    @classmethod
    def clear_expired(cls) -> None:
        """Write down the end of what lapsed."""
        engine_store().sweep()

    def _begin(self, data: Mapping[str, Any]) -> None:
        stored = texts_of(data)
        self._principal = _owner(data) or VISITOR + secrets.token_hex(8)
        try:
            issued = engine_store().create(
                self._principal,
                ttl=self._age(),
                attributes=attributes_of(stored),
                actor=actor_of(self._principal),
            )
        except DuplicateSession:
            raise CreateError from None
        self._session_key, self._stored = issued.token, stored

    def _patch(self, stored: dict[str, str]) -> None:
        changed = {name: text for name, text in stored.items() if self._stored.get(name) != text}
        removed = dict.fromkeys(self._stored.keys() - stored.keys())
        ledger = engine_store()
        ledger.patch(self.session_key, attributes_of(changed) | removed)
        if ledger.touch(self.session_key, ttl=self._age()) is None:
            raise UpdateError
        self._stored = stored

    def _age(self) -> timedelta:
        return timedelta(seconds=self.get_expiry_age())

    def _forget(self) -> None:
        self._principal, self._stored = None, {}


def data_of(session: Session) -> dict[str, Any]:
    """The data in the attributes of a session."""
    return {
        name: value[0]
        for name, value in session.attributes.items()
        if isinstance(value, list) and len(value) == 1
    }


def texts_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Each value as JSON, which can be compared exactly. Raises `TypeError` for any other value.

    A text that looks like a token, which a user may have typed, is left out: none is ever stored.
    """
    return {
        without_tokens(str(name)): without_tokens(json.dumps(value, sort_keys=True))
        for name, value in data.items()
    }


def attributes_of(stored: Mapping[str, str]) -> dict[str, Any]:
    """What stands in the attributes for it."""
    return {name: [json.loads(text)] for name, text in stored.items()}


def _owner(data: Mapping[str, Any]) -> str | None:
    """The user who is logged in."""
    user = data.get(SESSION_KEY)
    return None if user is None else str(user)
