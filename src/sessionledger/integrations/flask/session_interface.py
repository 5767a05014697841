"""`flask.session`, kept in the ledger: `app.session_interface = LedgerSessionInterface(sessions)`.

It is read at the first look, so that a request without one needs no ledger. What changed is saved
with the answer. `SESSION_COOKIE_*`, `PERMANENT_SESSION_LIFETIME` and `SESSION_REFRESH_EACH_REQUEST`
mean what they mean to Flask.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Request, Response
from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SessionInterface, SessionMixin, session_json_serializer
from werkzeug.exceptions import HTTPException

from sessionledger.integrations.flask.extension import Sessions, refused
from sessionledger.integrations.own_session.dictionary import SessionDict
from sessionledger.integrations.own_session.session import OwnSession, PrincipalOf
from sessionledger.integrations.own_session.values import Serializer
from sessionledger.integrations.request import from_wsgi
from sessionledger.integrations.sync import complete, store_in_place
from sessionledger.secrecy import without_locals

_OPTIONS = ("domain", "path", "secure", "samesite", "httponly", "partitioned")


class LedgerSession(SessionDict, SessionMixin):
    """`flask.session`, with `log_in` and `principal`."""

    own: OwnSession

    @property
    def new(self) -> bool:  # type: ignore[override]
        """Whether there is none in the ledger yet."""
        self.mark_accessed()
        return not self.own.is_stored


class LedgerSessionInterface(SessionInterface):
    """Keeps `flask.session` in the store of `sessions`.

    principal: who is logged in, by the data, such as `lambda data: data.get("_user_id")`. Without
    it `session.log_in(principal)` says so. serializer: Flask's own, to which tags can be added.
    """

    serializer: Any = session_json_serializer

    def __init__(self, sessions: Sessions, *, principal: PrincipalOf | None = None) -> None:
        self._sessions = sessions
        self._principal = principal

    def open_session(self, app: Flask, request: Request) -> LedgerSession:
        """The session of a request, which is not read yet."""
        store = store_in_place(self._sessions.store_of(app))
        writes: Any = "json" if isinstance(self.serializer, TaggedJSONSerializer) else "text"
        session = LedgerSession()
        session.own = OwnSession(
            lambda: store,
            from_wsgi(request.environ, request.scheme),
            self._sessions.settings,
            refused,
            self.get_cookie_name(app),
            Serializer(self.serializer.dumps, self.serializer.loads, writes),
            self._principal,
            session,
            renews=app.config["SESSION_REFRESH_EACH_REQUEST"],
        )
        session.load = lambda: complete(session.own.load())
        return session

    @without_locals
    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Save what changed, and send the cookie."""
        assert isinstance(session, LedgerSession)
        if session.accessed:
            response.vary.add("Cookie")
        if session.load is not None:
            return  # nobody looked at it, or the ledger could not be read
        # Many make each visitor's session permanent, which alone is no reason to begin one.
        data: Any = {} if session.new and session.keys() == {"_permanent"} else session
        resend = self.should_set_cookie(app, session)
        try:
            token = complete(session.own.save(data, app.permanent_session_lifetime, resend=resend))
        except HTTPException as refusal:
            answer = refusal.get_response()
            response.status, response.data = answer.status, answer.data
            response.headers.clear()
            response.headers.extend(answer.headers)
        else:
            self._send(app, session, response, token)

    def _send(
        self, app: Flask, session: SessionMixin, response: Response, token: str | None
    ) -> None:
        name, known = self.get_cookie_name(app), ((one, f"get_cookie_{one}") for one in _OPTIONS)
        options = {one: getattr(self, get)(app) for one, get in known if hasattr(self, get)}
        if token:
            expires = self.get_expiration_time(app, session)
            response.set_cookie(name, token, expires=expires, **options)
        elif token is not None:
            response.delete_cookie(name, **options)
