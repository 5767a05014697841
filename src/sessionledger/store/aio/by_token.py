"""By token: what the bearer of a session, or the application on its behalf, does with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sessionledger.core.decide import Create, Patch, Touch
from sessionledger.core.ends import Expire
from sessionledger.core.families import Rotate
from sessionledger.core.lifetimes import Asked
from sessionledger.core.session import IssuedSession, Session
from sessionledger.core.token import digest, parse_token
from sessionledger.errors import LogTimeout
from sessionledger.secrecy import clear_locals, without_locals
from sessionledger.store.engine import Annotation
from sessionledger.store.facade import TokenFacade
from sessionledger.store.operations import (
    authenticate,
    create,
    families,
    principals,
    rotation,
    touch,
)


class ByToken(TokenFacade):
    """The calls that take a token, or issue one."""

    @without_locals
    async def create(
        self,
        principal: str,
        *,
        token: str | None = None,
        created_at: datetime | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | None = None,
        idle_timeout: timedelta | None = None,
        absolute_timeout: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        external_id: str | None = None,
        parent: str | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> IssuedSession:
        """Begin a session and answer it with its token, this once.

        Without `token` a new one is made, which is better: a guessable one can be tried offline
        against a stolen ledger. The session ends at `expires_at`, or `ttl` after `created_at`, or
        as the policy says, whose timeouts can be given for this session alone. `external_id` is
        the application's own name for it, such as an OIDC `sid`; several may share one. For the
        principal `ANONYMOUS` the session is a visitor's, with a principal of its own.

        `parent` is the token or the handle of a live session. A child of it, for an agent or a
        job, has some of its attributes, ends no later, and ends with it.
        Raises `InvalidSession`, `DuplicateSession` for a used token, and `SessionLimitReached`.
        """
        command = Create(
            principal=principal,
            created_at=created_at,
            expires_at=expires_at,
            ttl=ttl,
            idle_timeout=idle_timeout,
            absolute_timeout=absolute_timeout,
            attributes=attributes,
            external_id=external_id,
        )
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await create.create(self._engine, command, token, annotation, parent)

    @without_locals
    async def find_or_create(
        self,
        principal: str,
        *,
        external_id: str,
        expires_at: datetime | None = None,
        ttl: timedelta | None = None,
        idle_timeout: timedelta | None = None,
        absolute_timeout: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session:
        """The live session of a principal with an external id, or a new one, as `create` begins it.

        It is an `IssuedSession`, with its token, if this call began it. Of many calls at once, by
        any process, one begins it, and the others find it. Once it is over, the next call begins
        another. Raises `InvalidSession` and `SessionLimitReached`.
        """
        command = Create(
            principal=principal,
            expires_at=expires_at,
            ttl=ttl,
            idle_timeout=idle_timeout,
            absolute_timeout=absolute_timeout,
            attributes=attributes,
            external_id=external_id,
        )
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await create.find_or_create(self._engine, command, annotation)

    async def get(self, token: str, *, now: datetime | None = None) -> Session | None:
        """The live session of a token, as of everything acknowledged before the call."""
        # The hot path: what can be told in place is, without another coroutine.
        engine, look = self._engine, self._look
        try:
            key = digest(parse_token(token, engine.policy))
            if look is not None:
                try:
                    found = look(engine.topic, key)
                    if found is not None or self._in_place is not None:
                        return engine.live(found, now)
                except LogTimeout:
                    look = None  # a thread waits instead
            return engine.live(await engine.log.state(engine.topic, key), now)
        except BaseException as error:
            del token
            clear_locals(error)
            raise

    async def authenticate(
        self,
        token: str | None,
        *,
        max_auth_age: timedelta | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """The live session of a token that a client presented, for every request.

        Records that it was seen, when that is due by the policy. Where it can't be recorded, the
        session is answered all the same, and the store's `on_error` is told. A token that was
        rotated, and is presented after its grace, ends its family. None for whatever is not live,
        and for whatever is no token. Raises `ReauthenticationRequired` for a bearer who proved who
        it is longer than `max_auth_age` ago.
        """
        engine, look, log = self._engine, self._look, self._in_place
        try:
            presented = authenticate.presented(engine, token)
            if presented is None:
                return None
            try:
                found = None if look is None else look(engine.topic, presented[1])
            except LogTimeout:
                found = log = None  # a thread waits instead
            if found is None and log is None:
                found = await engine.log.state(engine.topic, presented[1])
            session = engine.live(found, None)
            if authenticate.needs_only_a_read(engine, session, max_auth_age):
                return session
            said = Annotation(context=context)
            return await authenticate.authenticate(engine, presented[0], found, max_auth_age, said)
        except BaseException as error:
            token = presented = None
            clear_locals(error)
            raise

    @without_locals
    async def reauthenticate(
        self,
        token: str | None = None,
        *,
        handle: str | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """Record that the bearer of a live session has just proved again who it is.

        Takes the token or `handle`.
        """
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await touch.reauthenticate(self._engine, token, handle, annotation)

    @without_locals
    async def touch(
        self,
        token: str | None = None,
        *,
        handle: str | None = None,
        last_seen_at: datetime | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """Record that a live session was seen, now or at `last_seen_at`.

        `attributes` replaces all of them. `expires_at`, or `ttl` after the moment it was seen,
        moves the expiry, never past the deadline; without either it slides as the policy says.
        A `ttl` of zero ends the session as `expire` does, and nothing else is recorded. Takes the
        token or `handle`.
        """
        command = Touch(
            last_seen_at=last_seen_at, expires_at=expires_at, ttl=ttl, attributes=attributes
        )
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await touch.touch(self._engine, token, handle, command, annotation)

    @without_locals
    async def patch(
        self,
        token: str | None = None,
        changes: Mapping[str, Any] | None = None,
        *,
        handle: str | None = None,
        if_version: int | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """Merge changes into the attributes of a live session (JSON Merge Patch, RFC 7396).

        None for a name removes it. Concurrent patches of different names both take effect, of one
        name the last. It is no sighting: the expiry does not slide. `expires_at`, or `ttl` from
        now, moves it by the same event. A `ttl` of zero ends the session as `expire` does, and
        nothing else is recorded. Takes the token or `handle`. Raises `InvalidSession`, and
        `VersionConflict` when the session is not at `if_version`.
        """
        command = Patch(changes=changes, if_version=if_version, expires_at=expires_at, ttl=ttl)
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await families.patch(self._engine, token, handle, command, annotation)

    @without_locals
    async def rotate(
        self,
        token: str | None = None,
        *,
        handle: str | None = None,
        principal: str | None = None,
        changes: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        grace: timedelta | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | None = None,
        idle_timeout: timedelta | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> IssuedSession | None:
        """Replace the token of a live session by a new one, which is answered this once.

        The new session carries on the old one's attributes, creation and ends, for `principal` if
        one is given: who just logged in. `changes` are merged into its attributes, as by `patch`,
        in the same unit, or `attributes` replaces all of them. With an end or an `idle_timeout` it
        begins a life and a family of its own, as by `create`. The old token authenticates for
        `grace` more, the policy's if none is given; presented later, it ends the family. Takes the
        token or `handle`. None for a session that is not live. Raises `InvalidSession` and
        `SessionLimitReached`.
        """
        life = Asked(expires_at, ttl, idle_timeout)
        command = Rotate(
            principal=principal, grace=grace, changes=changes, attributes=attributes, life=life
        )
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await rotation.rotate(self._engine, token, handle, command, annotation)

    @without_locals
    async def change_credentials(
        self,
        token: str | None = None,
        *,
        handle: str | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> IssuedSession | None:
        """Replace the token, and end all other sessions of the principal: after a new password.

        Call it when the bearer has just proved who it is. All of it happens in one unit. The old
        token ends at once. The new session carries on attributes, creation and ends, in a family of
        its own. So nobody who holds an older token can reach it. Takes the token or `handle`. None
        for a session that is not live. Raises `InvalidSession`.
        """
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await rotation.change_credentials(self._engine, token, handle, annotation)

    @without_locals
    async def log_out_everywhere(
        self,
        token: str,
        *,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> int:
        """End all sessions of the token's principal, its own too; how many logins ended.

        0 for a token whose session was ended before, or that is unknown. More than 10,000 sessions
        end as `revoke_all` ends them.
        """
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await principals.log_out_everywhere(self._engine, token, annotation)

    @without_locals
    async def expire(
        self,
        token: str,
        *,
        expired_at: datetime | None = None,
        reason: str | None = None,
        actor: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """End the session of a token, for good; the session as it ended, None for an unknown one.

        What it was rotated from or into ends with it. A session that was ended before stays as it
        was, unless an earlier `expired_at` is given.
        """
        command = Expire(cause="signed_out", expired_at=expired_at)
        annotation = Annotation(reason=reason, actor=actor, context=context)
        return await families.expire(self._engine, token, command, annotation)
