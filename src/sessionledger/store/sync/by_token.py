"""By token: what the bearer of a session, or the application on its behalf, does with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sessionledger.core.session import Session
from sessionledger.core.token import digest, parse_token
from sessionledger.secrecy import clear_locals
from sessionledger.store.aio import by_token as aio
from sessionledger.store.engine import Annotation
from sessionledger.store.facade import TokenFacade
from sessionledger.store.operations import authenticate
from sessionledger.store.sync.drive import drive, in_place


class ByToken(TokenFacade):
    """The calls that take a token, or issue one."""

    create = in_place(aio.ByToken.create)

    def get(self, token: str, *, now: datetime | None = None) -> Session | None:
        """The live session of a token, as of everything acknowledged before the call."""
        # The hot path: what the engine would do, without the price of a coroutine.
        engine = self._engine
        try:
            key = digest(parse_token(token, engine.policy))
            return engine.live(self._log.state(engine.topic, key), now)
        except BaseException as error:
            del token
            clear_locals(error)
            raise

    def authenticate(
        self,
        token: str | None,
        *,
        max_auth_age: timedelta | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """The live session of a token that a client presented, for every request.

        Records that it was seen, when that is due by the policy; where it can't be recorded, the
        session is answered all the same, and the store's `on_error` is told. A token that was
        rotated, and is presented after its grace, ends its family. None for whatever is not live,
        and for whatever is no token. Raises `ReauthenticationRequired` for a bearer who proved who
        it is longer than `max_auth_age` ago.
        """
        engine = self._engine
        try:
            presented = authenticate.presented(engine, token)
            if presented is None:
                return None
            found = self._log.state(engine.topic, presented[1])
            session = engine.live(found, None)
            if authenticate.needs_only_a_read(engine, session, max_auth_age):
                return session
            said = Annotation(context=context)
            return drive(authenticate.authenticate(engine, presented[0], found, max_auth_age, said))
        except BaseException as error:
            token = presented = None
            clear_locals(error)
            raise

    reauthenticate = in_place(aio.ByToken.reauthenticate)
    touch = in_place(aio.ByToken.touch)
    patch = in_place(aio.ByToken.patch)
    rotate = in_place(aio.ByToken.rotate)
    change_credentials = in_place(aio.ByToken.change_credentials)
    log_out_everywhere = in_place(aio.ByToken.log_out_everywhere)
    expire = in_place(aio.ByToken.expire)
