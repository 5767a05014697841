"""An engine for `request.session`: `SESSION_ENGINE = "sessionledger.integrations.django.sessions"`.

1. The key in Django's cookie is the token. Only its hash is stored.
2. Each name of the session is an attribute of its own (see `own_session.values`). Saving patches
   the names that changed. So concurrent requests lose nothing of each other, and a value is
   replaced whole.
3. Data that was put in place without a look at what is stored replaces all of it.
4. A session belongs to the user who is logged in, by the text of the primary key; before that, it
   is anonymous.
5. What ended stays ended: saving it is Django's `UpdateError`, and nothing comes back.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.contrib.sessions.serializers import JSONSerializer
from django.utils.timezone import is_naive, make_aware

from sessionledger import ANONYMOUS, DuplicateSession, InvalidSession, Session
from sessionledger.core.token import TOKEN_RANDOM_BYTES, issue
from sessionledger.integrations.django.configuration import engine_store
from sessionledger.integrations.own_session.session import undelayed
from sessionledger.integrations.own_session.values import JSON, Data, Format, Serializer
from sessionledger.integrations.request_session import actor_of
from sessionledger.secrecy import without_locals

_BATCH = 1000


class SessionStore(SessionBase):
    """The session of one request, as Django's own engines are."""

    _session_key: str | None

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._principal: str | None = None
        self._chosen: str | None = None  # a key for a session that `save` begins

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update({key: value})

    def update(self, dict_: Any) -> None:
        """Take the values. Raises what `save` would raise for them, and then takes none."""
        added = dict(dict_)
        self._format().check(self._session, added)
        super().update(added)

    async def aset(self, key: Any, value: Any) -> None:
        """As `session[key] = value`."""
        await sync_to_async(self.__setitem__)(key, value)

    async def aupdate(self, dict_: Any) -> None:
        """As `update`."""
        await sync_to_async(self.update)(dict_)

    def load(self) -> dict[str, Any]:
        """The data; empty, and without a key, for whatever is not live."""
        session = engine_store().authenticate(self.session_key)
        if session is None:
            self._session_key = None
            return {}
        self._principal = session.principal
        return self._format().fill(Data(), session)

    @without_locals
    def exists(self, session_key: str | None) -> bool:
        """Whether there is a live session by that key."""
        with suppress(InvalidSession):
            return session_key is not None and engine_store().get(session_key) is not None
        return False

    def create(self) -> None:
        """A new session, without data."""
        self._session_cache: dict[str, Any] = {}
        self._begin()

    def save(self, must_create: bool = False) -> None:
        """Write what was changed. Raises `UpdateError` for a session that has ended meanwhile, and
        `CreateError` where one must be created and is there."""
        if must_create and self.exists(self.session_key):
            raise CreateError
        data = self._get_session(no_load=must_create)
        if must_create or self.session_key in (None, self._chosen):
            self._begin()
            return
        known = data if isinstance(data, Data) else self.load()
        if not isinstance(known, Data) or known.session is None:
            raise UpdateError
        if self._age() <= timedelta(0):
            self.delete()
        elif not _belongs(data, known.session):
            # A token that was known before is not theirs.
            self.delete()
            self._begin()
        else:
            self._write(data, known, known.session)

    def adopt(self, data: Mapping[str, Any], expires_at: datetime) -> bool:
        """Keep here what another engine stored by this key; False if the key was used here before.

        Raises `InvalidSession` for a key of fewer than 32 characters, and for data as `update`.
        """
        try:
            self._create(
                data, expires_at=make_aware(expires_at) if is_naive(expires_at) else expires_at
            )
        except DuplicateSession:
            return False
        return True

    def cycle_key(self) -> None:
        """End the session, and go on with its data under another key, from when it is saved."""
        data = self._session
        self.delete()
        self._choose()
        self._session_cache = data

    async def acycle_key(self) -> None:
        """As `cycle_key`."""
        await sync_to_async(self.cycle_key)()

    @without_locals
    def delete(self, session_key: str | None = None) -> None:
        """End a session: the one by that key, or this."""
        key = self.session_key if session_key is None else session_key
        if key is not None:
            with suppress(InvalidSession):
                who = None if self._principal is None else actor_of(self._principal)
                engine_store().expire(key, reason="ended by the application", actor=who)

    @classmethod
    def clear_expired(cls) -> None:
        """Write down the end of all that lapsed."""
        while engine_store().sweep(limit=_BATCH) == _BATCH:
            pass

    def _get_new_session_key(self) -> str:
        self._chosen = issue(secrets.token_bytes(TOKEN_RANDOM_BYTES))
        return self._chosen

    async def _aget_new_session_key(self) -> str:
        return self._get_new_session_key()

    def _choose(self) -> None:
        """Another key, for a session that is begun when it is saved."""
        self._session_key = self._get_new_session_key()
        self.modified = True

    def _begin(self) -> None:
        if self._chosen is None or self.session_key != self._chosen:
            self._choose()
        data, age = self._session_cache, self._age()
        if age <= timedelta(0):
            return  # it would be over already
        try:
            session = self._create(data, ttl=age)
        except DuplicateSession:
            raise CreateError from None
        self._chosen = None
        self._session_cache = self._format().kept(data, session)

    def _create(self, data: Mapping[str, Any], **end: Any) -> Session:
        owner = _owner(data) or ANONYMOUS
        session = engine_store().create(
            owner,
            token=self.session_key if self._chosen is None else self._chosen,
            attributes=self._format().attributes(data),
            actor=actor_of(owner),
            **end,
        )
        self._principal = session.principal
        return session

    def _write(self, data: dict[str, Any], known: Data, before: Session) -> None:
        """Write what differs, or all of what was put in place without a look."""
        form, ledger = self._format(), engine_store()
        ttl = undelayed(self._age(), before.idle_timeout, ledger.policy)
        if data is known:
            session = ledger.patch(self.session_key, form.changes(known), ttl=ttl)
        else:
            whole = form.attributes(data)
            session = ledger.touch(self.session_key, ttl=ttl, attributes=whole)
        if session is None:
            raise UpdateError
        self._session_cache = form.kept(data, session)

    def _format(self) -> Format:
        return Format(_serializer(self.serializer()), engine_store().policy, self.session_key)

    def _age(self) -> timedelta:
        return timedelta(seconds=self.get_expiry_age())


def _serializer(given: Any) -> Serializer:
    """An instance of `SESSION_SERIALIZER`. Only Django's own is known to write JSON."""
    if type(given) is JSONSerializer:
        return JSON
    return Serializer(
        lambda data: str(given.dumps(data), "latin-1"),
        lambda text: dict(given.loads(text.encode("latin-1"))),
        "text",
    )


def _belongs(data: Mapping[str, Any], session: Session) -> bool:
    """Whether the data is still of whom the session is for."""
    owner = _owner(data)
    return session.is_anonymous if owner is None else owner == session.principal


def _owner(data: Mapping[str, Any]) -> str | None:
    """The user who is logged in."""
    user = data.get(SESSION_KEY)
    return None if user is None else str(user).strip() or None
