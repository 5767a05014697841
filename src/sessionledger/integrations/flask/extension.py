"""The extension, with decorators for views."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from sessionledger import Session, SessionStore
from sessionledger.integrations.extras import missing
from sessionledger.integrations.request import from_wsgi
from sessionledger.integrations.requirements import A_SESSION, Requirements
from sessionledger.integrations.settings import Settings
from sessionledger.integrations.sync import SyncRequestSession
from sessionledger.web.challenges import Denied

try:
    from flask import Flask, Response, current_app, request
    from werkzeug.exceptions import HTTPException, default_exceptions
except ModuleNotFoundError as error:
    raise missing("flask") from error

P = ParamSpec("P")
R = TypeVar("R")


class Refused(HTTPException):
    """What is denied, with its challenge."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.detail)
        self.denied = denied

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        """Those of the framework, and those of the refusal."""
        return [*super().get_headers(*args, **kwargs), *self.denied.headers.items()]


@cache
def _refused(status: int) -> type[Refused]:
    kind = default_exceptions[status]
    return type(f"Refused{kind.__name__}", (Refused, kind), {})


def refused(denied: Denied) -> HTTPException:
    """What is denied, as the framework's exception of its status, which applications handle."""
    return _refused(denied.status)(denied)


class Sessions:
    """The sessions of one application or several; use it within a request.

    open_store: makes the store of an application, when that is initialised. It may be opened before
    a server forks its workers.
    """

    def __init__(
        self, open_store: Callable[[Flask], SessionStore], *, settings: Settings | None = None
    ) -> None:
        self.settings = Settings() if settings is None else settings
        self._open_store = open_store
        self._key = f"sessionledger.{self.settings.cookie.name}"

    def init_app(self, app: Flask) -> None:
        """Open the store of an application, and send its cookies. Closed when that is gone."""
        store = self._open_store(app)
        weakref.finalize(app, store.close)
        app.extensions[self._key] = store
        app.after_request(self._with_headers)

    @property
    def store(self) -> SessionStore:
        """The store of the current application."""
        return self.store_of(current_app)

    def store_of(self, app: Flask) -> SessionStore:
        """The store of an application. Raises `RuntimeError` before `init_app`."""
        store = app.extensions.get(self._key)
        if not isinstance(store, SessionStore):
            raise RuntimeError("call sessions.init_app(app) first")  # noqa: TRY004
        return store

    @property
    def request_session(self) -> SyncRequestSession:
        """The request session of the current request."""
        # Flask's `g` may outlive a request, where an application context is pushed around several.
        request_session = request.environ.get(self._key)
        if request_session is None:
            asked = from_wsgi(request.environ, request.scheme)
            request_session = SyncRequestSession(self.store, asked, self.settings, refused)
            request.environ[self._key] = request_session
        assert isinstance(request_session, SyncRequestSession)
        return request_session

    @property
    def current(self) -> Session | None:
        """The live session of the current request; None for whatever is not good."""
        return self.request_session.session()

    def required(self, view: Callable[P, R]) -> Callable[P, R]:
        """A view for requests with a live session; 401 without."""
        return self.requiring(A_SESSION)(view)

    def requiring(self, requirements: Requirements) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """A view for requests whose session meets the requirements."""

        def decorate(view: Callable[P, R]) -> Callable[P, R]:
            @wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
                self.request_session.required(requirements)
                answer: R = current_app.ensure_sync(view)(*args, **kwargs)
                return answer

            return guarded

        return decorate

    def _with_headers(self, response: Response) -> Response:
        request_session = request.environ.get(self._key)
        if isinstance(request_session, SyncRequestSession):
            headers, told = response.headers, request_session.in_place
            said = (headers.getlist(name) for name in ("Vary", "Cache-Control"))
            headers.update(told.cache_headers(*said))
            if told.set_cookie is not None:
                headers.add("Set-Cookie", told.set_cookie)
        return response
