"""One request and the session that it is made with, written once for both colours.

1. `Authorization: Bearer` counts first (RFC 6750), and what it says is final: behind a token that
   is not good no cookie is looked for.
2. A cookie counts only as `web.cross_site` says.
3. The ledger is asked when somebody wants to know, and once: what was answered holds for the whole
   request. A proof that is asked for later is asked for there.
4. What a log in, a log out or a rotation says to the browser waits in `set_cookie`.
5. The history says who did it: the principal of the request's session, or who logs in.
6. An answer that was made after a look at the session says so to caches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

from sessionledger import (
    ANONYMOUS,
    AsyncSessionStore,
    InvalidSession,
    IssuedSession,
    ReauthenticationRequired,
    RotationLimitReached,
    Session,
)
from sessionledger.integrations.refusing import Refuse, answered
from sessionledger.integrations.request import Request
from sessionledger.integrations.requirements import A_SESSION, ANY_SESSION, Requirements
from sessionledger.integrations.settings import Credentials, Settings, credentials_of
from sessionledger.secrecy import without_tokens
from sessionledger.web.caching import NO_STORE, keep_private, vary_by_credentials
from sessionledger.web.challenges import (
    missing,
    refused_token,
    rotated_too_often,
    too_old,
)
from sessionledger.web.cross_site import CROSS_SITE

_AT_ONCE = timedelta(0)
_MOST_ACTOR_CHARS = 512
_REPLACED = "replaced by a log in"


class RequestSession:
    """One request, and what it may do with its session. Not for several requests or threads.

    refuse: what is raised for what is denied, which the framework makes an answer of.
    """

    def __init__(
        self,
        store: Callable[[], AsyncSessionStore],
        request: Request,
        settings: Settings,
        refuse: Refuse,
    ) -> None:
        self.store = store
        self.request = request
        self.settings = settings
        self.refuse = refuse
        self._credentials = credentials_of(request, settings)
        self._answer: tuple[Session | None] | None = None
        self._was_asked = False
        self.set_cookie: str | None = None

    def cache_headers(self, vary: Iterable[str], cache_control: Iterable[str]) -> dict[str, str]:
        """`Vary` and `Cache-Control` of the answer, from what the application says there.

        Empty where nobody asked for the session: then the answer is the same for everybody.
        """
        if not self._was_asked:
            return {}
        keep = NO_STORE if self.set_cookie is not None else keep_private(cache_control)
        return {"Vary": vary_by_credentials(vary), "Cache-Control": keep}

    @answered
    async def session(self) -> Session | None:
        """The live session that the request is made with; None for whatever is not good."""
        self._was_asked = True
        if self._answer is None:
            token = self._credentials.token
            self._answer = (None if token is None else await self._authenticated(token, None),)
        return self._answer[0]

    @answered
    async def required(self, requirements: Requirements = A_SESSION) -> Session:
        """The session, if it is all that is needed; the framework's exception otherwise."""
        self._was_asked = True
        if self._credentials.denied is not None:
            raise self.refuse(self._credentials.denied)
        session = await self._proved(requirements.max_auth_age)
        denied = (
            refused_token(self.settings.realm)
            if session is None
            else requirements.refusal(session, self.settings.realm)
        )
        if session is None or denied is not None:
            assert denied is not None
            raise self.refuse(denied)
        return session

    @answered
    async def log_in(
        self,
        principal: str,
        *,
        ttl: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        external_id: str | None = None,
        parent: str | None = None,
        reason: str | None = "logged in",
        actor: str | None = None,
    ) -> IssuedSession:
        """Begin a session and give its token to the browser, as a cookie.

        A session that the browser comes with ends: whoever planted it has nothing now, and nothing
        of it is taken over. parent: the token or the handle of a session that the new one is a
        child of; what is above a child does not end. actor: who logs in, the principal if not
        given. Refused for what another site sent. Raises what `create` raises.
        """
        self._was_asked = True
        if not self.settings.may_use_cookie(self.request):
            raise self.refuse(CROSS_SITE)
        by = actor_of(principal) if actor is None else actor
        if parent is None:  # the limit of sessions may have room for one of the two only
            await self._end(self._credentials.cookie, _REPLACED, by)
        issued = await self.store().create(
            principal,
            ttl=ttl,
            attributes=attributes,
            external_id=external_id,
            parent=parent,
            reason=reason,
            actor=by,
            context=self.context(),
        )
        if parent is not None and not await self._came_with_one_above(issued):
            await self._end(self._credentials.cookie, _REPLACED, by)
        return self._keep(issued)

    @answered
    async def begin_anonymous(
        self,
        *,
        ttl: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        reason: str | None = "visited",
    ) -> IssuedSession:
        """Begin an anonymous session, and go on as `log_in` does."""
        return await self.log_in(ANONYMOUS, ttl=ttl, attributes=attributes, reason=reason)

    @answered
    async def patch(
        self,
        changes: Mapping[str, Any],
        *,
        ttl: timedelta | None = None,
        if_version: int | None = None,
        reason: str | None = None,
        actor: str | None = None,
    ) -> Session:
        """Merge changes into the attributes, and answer the session as this request now sees it.

        An anonymous session will do. With a `ttl` the cookie is sent again; zero logs out. Refused
        as `required` refuses. Raises what `patch` of the store raises.
        """
        before = await self.required(ANY_SESSION)
        patched = await self.store().patch(
            self._credentials.token,
            changes,
            ttl=ttl,
            if_version=if_version,
            reason=reason,
            actor=actor_of(before.principal) if actor is None else actor,
            context=self.context(),
        )
        if patched is None:
            raise self.refuse(refused_token(self.settings.realm))
        if patched.ended_at is not None:
            self._forget()
            return patched
        self._answer = (patched,)
        cookie = None if self._credentials.bearer is not None else self._credentials.cookie
        # A replaced token must not take the place of the one that another request was given.
        if ttl is not None and cookie is not None and not patched.successors:
            self.set_cookie = self.settings.cookie.keeping(IssuedSession.of(patched, cookie))
        return patched

    @answered
    async def log_out(self, *, reason: str | None = "logged out", actor: str | None = None) -> None:
        """End the session that the request came with, and have the browser forget the cookie.

        Nothing to log out of is no error. Refused for what another site sent, even for a `GET`.
        """
        self._check_may_log_out()
        by = await self._requester(actor)
        for token in (self._credentials.bearer, self._credentials.cookie):
            await self._end(token, reason, by)
        self._forget()

    @answered
    async def log_out_everywhere(
        self, *, reason: str | None = "logged out everywhere", actor: str | None = None
    ) -> int:
        """End all sessions of whom the request came from, its own too, and forget the cookie.

        How many logins ended. Nothing to log out of is no error. Refused as `log_out` refuses.
        Raises `InvalidSession` for a child session.
        """
        self._check_may_log_out()
        by, ended = await self._requester(actor), 0
        for token in (self._credentials.bearer, self._credentials.cookie):
            if token is None:
                continue
            is_live = await self._live(token) is not None
            with nullcontext() if is_live else suppress_no_token():
                ended += await self.store().log_out_everywhere(
                    token, reason=reason, actor=by, context=self.context()
                )
        self._forget()
        return ended

    @answered
    async def rotate(
        self,
        *,
        principal: str | None = None,
        changes: Mapping[str, Any] | None = None,
        grace: timedelta | None = None,
        reason: str | None = "rotated",
        actor: str | None = None,
    ) -> IssuedSession:
        """Replace the token: where rights change, or at the log in of a visitor with a session.

        With `principal` the session becomes theirs, with its attributes, and the old token is no
        good from then on, unless a `grace` says otherwise. `changes` are merged into the
        attributes in the same unit. An anonymous session will do. A token that came as a cookie is
        replaced as a cookie; to a bearer the application answers the new one. Refused as
        `required` refuses, and with 429 where the family was rotated too often.
        """
        session = await self.required(ANY_SESSION)
        if principal is not None and grace is None:
            grace = _AT_ONCE
        with self._refusing_too_many():
            issued = await self.store().rotate(
                self._credentials.token,
                principal=principal,
                changes=changes,
                grace=grace,
                reason=reason,
                actor=actor_of(principal or session.principal) if actor is None else actor,
                context=self.context(),
            )
        return self._replace_by(issued)

    @answered
    async def change_credentials(
        self, *, reason: str | None = "credentials changed", actor: str | None = None
    ) -> IssuedSession:
        """Replace the token, and end all other sessions of the principal: after a new password.

        Call it once the bearer has proved who it is; `Requirements(max_auth_age=…)` asks for that.
        The old token ends at once. The new one goes where the old one came from, as with `rotate`.
        Refused as `required` refuses.
        """
        session = await self.required()
        with self._refusing_too_many():
            issued = await self.store().change_credentials(
                self._credentials.token,
                reason=reason,
                actor=actor_of(session.principal) if actor is None else actor,
                context=self.context(),
            )
        return self._replace_by(issued)

    @contextmanager
    def _refusing_too_many(self) -> Iterator[None]:
        try:
            yield
        except RotationLimitReached as error:
            raise self.refuse(rotated_too_often(error.retry_after)) from None

    async def _proved(self, most: timedelta | None) -> Session | None:
        token = self._credentials.token
        if most is None or token is None:
            return await self.session()
        try:
            self._answer = (await self._authenticated(token, most),)
        except ReauthenticationRequired:
            raise self.refuse(too_old(self.settings.realm, most)) from None
        return self._answer[0]

    async def _authenticated(self, token: str, most: timedelta | None) -> Session | None:
        return await self.store().authenticate(token, max_auth_age=most, context=self.context())

    async def _live(self, token: str | None) -> Session | None:
        """The live session of a token that a client sent, which may be anything."""
        session = None
        with suppress_no_token():
            if token is not None:
                session = await self.store().get(token)
        return session

    async def _requester(self, actor: str | None) -> str | None:
        """Whom the request came from, unless the application says so."""
        if actor is not None:
            return actor
        session = await self._live(self._credentials.bearer or self._credentials.cookie)
        return None if session is None else actor_of(session.principal)

    async def _came_with_one_above(self, child: Session) -> bool:
        """Whether the browser's session is the parent of a child, or above that."""
        before = await self._live(self._credentials.cookie)
        family = None if before is None else before.family or before.handle
        return any(ancestor.family == family for ancestor in child.ancestors)

    async def _end(self, token: str | None, reason: str | None, actor: str | None) -> None:
        """End the session of a token that a client sent, which may be anything."""
        with suppress_no_token():
            if token is not None:
                context = self.context()
                await self.store().expire(token, reason=reason, actor=actor, context=context)

    def _check_may_log_out(self) -> None:
        self._was_asked = True
        if self._credentials.bearer is None and not self.settings.is_from_own_page(self.request):
            raise self.refuse(CROSS_SITE)

    def _forget(self) -> None:
        """Nobody from here on, for this request and for the browser."""
        self._credentials = Credentials(None, None, None, missing(self.settings.realm))
        self._answer = (None,)
        self.set_cookie = self.settings.cookie.removing()

    def _replace_by(self, issued: IssuedSession | None) -> IssuedSession:
        """The session that replaces the request's; the framework's exception if there is none."""
        if issued is None:
            raise self.refuse(refused_token(self.settings.realm))
        if self._credentials.bearer is None:
            return self._keep(issued)
        self._credentials = Credentials(issued.token, self._credentials.cookie, issued.token)
        self._answer = (issued,)
        return issued

    def _keep(self, issued: IssuedSession) -> IssuedSession:
        """The session from here on, for this request and for the browser."""
        self._credentials = Credentials(None, issued.token, issued.token)
        self._answer = (issued,)
        self.set_cookie = self.settings.cookie.keeping(issued)
        return issued

    def context(self) -> Mapping[str, str] | None:
        """What is noted of the request, without any token that the client put into it."""
        return self.settings.context_of(self.request)


def actor_of(principal: str) -> str:
    """A principal as an actor. It may be anything that another program wrote, and keeps no end
    from being written."""
    return without_tokens(str(principal))[:_MOST_ACTOR_CHARS]


@contextmanager
def suppress_no_token() -> Iterator[None]:
    """What a client sent may be no token at all: then there is nothing to end."""
    try:
        yield
    except InvalidSession as error:
        if error.field != "token":
            raise
