"""One request and the framework's own session that it is made with, written once for both colours.

1. The cookie's value is the token. The ledger has its hash alone.
2. A visitor who changes nothing writes nothing. The first change begins an anonymous session.
3. A change writes the names that changed, so concurrent requests lose nothing of each other. Data
   that was cleared, or put in place without a look at what is stored, replaces all of it.
4. A log in gives the session another token, a principal and a life of its own, in one unit.
5. What ended meanwhile stays ended: nothing of the request is saved then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

from sessionledger import (
    ANONYMOUS,
    NEVER,
    AsyncSessionStore,
    IssuedSession,
    Policy,
    Session,
    SessionLimitReached,
)
from sessionledger.integrations.own_session.dictionary import SessionDict
from sessionledger.integrations.own_session.values import Data, Format, Serializer
from sessionledger.integrations.refusing import Refuse, answered
from sessionledger.integrations.request import Request
from sessionledger.integrations.request_session import actor_of
from sessionledger.integrations.settings import Settings
from sessionledger.web.challenges import Denied
from sessionledger.web.credentials import cookie_token

PrincipalOf: TypeAlias = Callable[[Mapping[str, Any]], object]
"""Who is logged in, by the data of a session: the text of it is the principal. None for nobody."""

REMOVED = ""
"""The browser is to forget the cookie."""

_TOO_MANY = Denied(403, "session_limit_reached", "too many sessions: log out on another device")


class OwnSession:
    """The session of one request. data: what the application sees. renews: each sighting that is
    recorded puts off the end."""

    def __init__(
        self,
        store: Callable[[], AsyncSessionStore],
        request: Request,
        settings: Settings,
        refuse: Refuse,
        cookie: str,
        serializer: Serializer,
        principal_of: PrincipalOf | None,
        data: SessionDict,
        *,
        renews: bool,
    ) -> None:
        self.data = data
        self.refuse = refuse
        self._store = store
        self._token = cookie_token(request.headers, cookie)
        self._context = partial(settings.context_of, request)
        self._serializer = serializer
        self._principal_of = principal_of
        self._renews = renews
        self._stored: Data = data
        self._owner: str | None = None

    @property
    def is_stored(self) -> bool:
        """Whether there is a session in the ledger."""
        return self._stored.session is not None

    @answered
    async def load(self) -> None:
        """Fill the data with what is stored."""
        session = await self._store().authenticate(self._token, context=self._context())
        if session is not None:
            self._format().fill(self.data, session)
            self._own(session)

    @answered
    async def save(self, data: Any, ttl: timedelta | None, *, resend: bool = False) -> str | None:
        """Save what changed. The token for the cookie, `REMOVED`, or None if that stays.

        resend: send the cookie of a live session, also if nothing changed. Raises `InvalidSession`
        and the errors of the serializer for data that can't be stored.
        """
        ttl = self._store().policy.ttl if ttl is None else ttl
        principal = self._principal(data)
        try:
            if self.is_stored and (data or principal) and not self._changes_token(data):
                return await self._write(data, ttl, resend=resend)
            if self.is_stored and principal is not None:
                return await self._log_in(data, principal, ttl)
            removed = await self._end()
            return await self._begin(data, principal, ttl) if data or principal else removed
        except SessionLimitReached:
            raise self.refuse(_TOO_MANY) from None

    @answered
    async def save_last(self, data: Any, ttl: timedelta | None) -> None:
        """Save what changed once no cookie can be sent. A session that would get another token
        ends."""
        if self._changes_token(data):
            await self._end()
        else:
            await self.save(data, ttl)

    def _changes_token(self, data: Any) -> bool:
        return self.data.is_log_in or self._principal(data) != self._owner

    def _principal(self, data: Any) -> str | None:
        if self._principal_of is None:
            return self.data.owner
        told = self._principal_of(data)
        return None if told is None else str(told).strip() or None

    async def _begin(self, data: Any, principal: str | None, ttl: timedelta) -> str:
        told = self._life(ttl) | self._told("logged in" if principal else "visited", principal)
        whole = self._format().attributes(data)
        issued = await self._store().create(principal or ANONYMOUS, attributes=whole, **told)
        return self._keep(data, issued)

    async def _log_in(self, data: Any, principal: str, ttl: timedelta) -> str:
        told = self._part(data) | self._life(ttl) | self._told("logged in", principal)
        issued = await self._store().rotate(
            self._token, principal=principal, grace=timedelta(0), **told
        )
        if issued is None:  # the session that it came with ended meanwhile
            return await self._begin(data, principal, ttl)
        return self._keep(data, issued)

    async def _write(self, data: Any, ttl: timedelta, *, resend: bool) -> str | None:
        store, token, part, before = self._store(), self._token, self._part(data), self._stored
        assert before.session is not None
        assert token is not None
        ttl = undelayed(ttl, before.session.idle_timeout, store.policy)
        told = self._told(None, self._owner) | {"ttl": ttl}
        written: Session | None
        if "attributes" in part:
            written = await store.touch(token, **part, **told)
        elif part["changes"]:
            written = await store.patch(token, **part, **told)
        else:
            written = await store.get(token) if resend else None
        if written is None:
            return None
        if "attributes" in part or part["changes"]:
            self._stored = self._format().kept(data, written)
        self._own(written)
        # A replaced token must not take the place of the one that another request was given.
        return None if written.successors else token

    async def _end(self) -> str | None:
        """Nothing is left of the session, if there was one."""
        token, held = self._token, self._stored.texts or self._owner
        if token is None or not (held or self.data.modified):
            return None
        if self.is_stored:
            await self._store().expire(token, **self._told("logged out", self._owner))
        self._stored, self._token, self._owner = Data(), None, None
        return REMOVED

    def _part(self, data: Any) -> dict[str, Any]:
        """What is to be written: all of it, or what changed."""
        if data is not self._stored or self.data.is_cleared:
            return {"attributes": self._format().attributes(data)}
        return {"changes": self._format().changes(data)}

    def _keep(self, data: Any, issued: IssuedSession) -> str:
        self._token = issued.token
        self._stored = self._format().kept(data, issued)
        self._own(issued)
        return issued.token

    def _own(self, session: Session) -> None:
        self._owner = self.data.owner = None if session.is_anonymous else session.principal
        self.data.is_cleared = self.data.is_log_in = False

    def _life(self, ttl: timedelta) -> dict[str, Any]:
        if not self._renews:
            return {"ttl": ttl}
        return {"expires_at": NEVER, "idle_timeout": undelayed(ttl, None, self._store().policy)}

    def _told(self, reason: str | None, principal: str | None) -> dict[str, Any]:
        actor = None if principal is None else actor_of(principal)
        return {"reason": reason, "actor": actor, "context": self._context()}

    def _format(self) -> Format:
        return Format(self._serializer, self._store().policy, self._token)


def undelayed(ttl: timedelta, idle: timedelta | None, policy: Policy) -> timedelta:
    """How long a session lives from a change: no change puts off the end that comes without one."""
    return min(one for one in (ttl, idle, policy.idle_timeout) if one is not None)
