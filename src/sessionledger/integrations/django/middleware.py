"""The middleware: what each request visits through, and where refusals become answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from sessionledger.integrations.django import ledger
from sessionledger.integrations.django.request_session import DjangoVisit, Refused
from sessionledger.integrations.request import from_wsgi


class LedgerMiddleware:
    """Gives requests their `ledger`. The store is opened when the application is loaded."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        ledger.settings()
        ledger.store()
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """The response, or what is awaited for it."""
        visit = _visit(request)
        if iscoroutinefunction(self):
            return self._awaited(request, visit)
        return with_headers(self.get_response(request), visit)

    async def _awaited(self, request: HttpRequest, visit: DjangoVisit) -> HttpResponseBase:
        answering = cast(Awaitable[HttpResponseBase], self.get_response(request))
        return with_headers(await answering, visit)

    def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        """The answer to what a view refused; None for any other error."""
        if not isinstance(error, Refused):
            return None
        denied = error.denied
        return HttpResponse(
            denied.detail, status=denied.status, content_type="text/plain", headers=denied.headers
        )


def _visit(request: HttpRequest) -> DjangoVisit:
    settings = ledger.settings()
    asked = from_wsgi(request.META, request.scheme)
    visit = DjangoVisit(ledger.store(), asked, settings, Refused)
    request.ledger = visit
    return visit


def with_headers(response: HttpResponseBase, visit: DjangoVisit) -> HttpResponseBase:
    """The response with the cookie that the visit wants set, and with what it says to caches."""
    said = ([response.headers.get(name, "")] for name in ("Vary", "Cache-Control"))
    for name, value in visit.cache_headers(*said).items():
        response.headers[name] = value
    if visit.set_cookie is not None:
        response.cookies.load(visit.set_cookie)
    return response
