"""The application of the conformance suite, in Django: views that are plain."""

from __future__ import annotations

import os
from typing import Any

import django
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from sessionledger import Session
from sessionledger.integrations.django import required, requiring, store
from sessionledger.integrations.django.devices import urls
from tests.integrations.site import ADMIN, PAGE, RECENT, SCOPED, SHARED

SETTINGS = "tests.integrations.apps.django_settings"


def name_of(session: Session | None) -> HttpResponse:
    return HttpResponse("nobody" if session is None else session.principal)


def opened(_: HttpRequest) -> HttpResponse:
    return HttpResponse("open")


def worker(_: HttpRequest) -> HttpResponse:
    return HttpResponse(str(os.getpid()))


def current(request: HttpRequest) -> HttpResponse:
    return name_of(request.ledger_session.session())


def shared(request: HttpRequest) -> HttpResponse:
    return HttpResponse(name_of(request.ledger_session.session()).content, headers=SHARED)


def twice(request: HttpRequest) -> HttpResponse:
    first = request.ledger_session.required()
    store().revoke(handle=first.handle)
    second = request.ledger_session.required()
    return HttpResponse(f"{first.principal} {second.principal}")


def log_in(request: HttpRequest) -> HttpResponse:
    request.ledger_session.log_in(request.GET["principal"], parent=request.GET.get("parent"))
    return current(request)


def log_out(request: HttpRequest) -> HttpResponse:
    request.ledger_session.log_out()
    return current(request)


def log_out_everywhere(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.ledger_session.log_out_everywhere()))


def change_credentials(request: HttpRequest) -> HttpResponse:
    request.ledger_session.change_credentials()
    return current(request)


def rotate(request: HttpRequest) -> HttpResponse:
    request.ledger_session.rotate(principal=request.GET.get("principal"))
    return current(request)


urlpatterns = [
    path("open", opened),
    path("worker", worker),
    path("current", current),
    path("shared", shared),
    path("required", required(current)),
    path("scoped", requiring(SCOPED)(current)),
    path("admin", requiring(ADMIN)(current)),
    path("recent", requiring(RECENT)(current)),
    path("twice", twice),
    path("login", log_in),
    path("logout", log_out),
    path("logout-everywhere", log_out_everywhere),
    path("change", change_credentials),
    path("rotate", rotate),
    path("become", rotate),
    path("account/", include(urls(PAGE))),
]


def set_up() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)
    django.setup()


def served() -> Any:
    """For a server, which gives it the ledger in a variable."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)
    return get_wsgi_application()


def served_to_loops() -> Any:
    """The same, for a server with an event loop."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", SETTINGS)
    return get_asgi_application()
