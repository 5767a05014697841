"""The middleware: it gives each request its session, and makes answers of refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from sessionledger.integrations.django import configuration
from sessionledger.integrations.django.ledger_session import DjangoRequestSession, Refused
from sessionledger.integrations.request import from_wsgi


class LedgerMiddleware:
    """Gives requests their `ledger_session`. The store is opened when the application is loaded."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        configuration.settings()
        configuration.store()
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """The response, or what is awaited for it."""
        request_session = _request_session_of(request)
        if iscoroutinefunction(self):
            return self._awaited(request, request_session)
        return with_headers(self.get_response(request), request_session)

    async def _awaited(
        self, request: HttpRequest, request_session: DjangoRequestSession
    ) -> HttpResponseBase:
        answering = cast(Awaitable[HttpResponseBase], self.get_response(request))
        return with_headers(await answering, request_session)

    def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        """The answer to what a view refused; None for any other error."""
        if not isinstance(error, Refused):
            return None
        denied = error.denied
        return HttpResponse(
            denied.detail, status=denied.status, content_type="text/plain", headers=denied.headers
        )


def _request_session_of(request: HttpRequest) -> DjangoRequestSession:
    settings = configuration.settings()
    asked = from_wsgi(request.META, request.scheme)
    request_session = DjangoRequestSession(configuration.store(), asked, settings, Refused)
    request.ledger_session = request_session
    # Django masks the cookies of its own sessions in error reports, and no others.
    request.COOKIES.pop(settings.cookie.name, None)
    return request_session


def with_headers(
    response: HttpResponseBase, request_session: DjangoRequestSession
) -> HttpResponseBase:
    """The response with the cookie and the cache headers of the request session."""
    told = request_session.in_place
    said = ([response.headers.get(name, "")] for name in ("Vary", "Cache-Control"))
    for name, value in told.cache_headers(*said).items():
        response.headers[name] = value
    if told.set_cookie is not None:
        response.cookies.load(told.set_cookie)
    return response
