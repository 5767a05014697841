"""An application of Django that keeps `request.session` in the ledger, and logs users in."""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings
from django.contrib.auth import aauthenticate, alogin, alogout, authenticate, login, logout
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from sessionledger import SessionStore

ENGINE = "sessionledger.integrations.django.sessions"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]


def whole(request: HttpRequest) -> HttpResponse:
    """All of the session but what Django keeps of the user."""
    shown = {k: v for k, v in request.session.items() if not k.startswith("_auth")}
    user = getattr(getattr(request, "user", None), "username", "")
    return JsonResponse({"user": user, "session": shown})


def put(request: HttpRequest) -> HttpResponse:
    request.session.update(request.GET.dict())
    return whole(request)


async def aput(request: HttpRequest) -> HttpResponse:
    await request.session.aupdate(request.GET.dict())
    return HttpResponse("put")


def log_in(request: HttpRequest) -> HttpResponse:
    login(request, authenticate(request, username=request.GET["name"], password="secret"))
    return whole(request)


async def alog_in(request: HttpRequest) -> HttpResponse:
    user = await aauthenticate(request, username=request.GET["name"], password="secret")
    await alogin(request, user)
    return HttpResponse(request.session.session_key)


async def alog_out(request: HttpRequest) -> HttpResponse:
    await alogout(request)
    return HttpResponse("goodbye")


def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return whole(request)


def clear(request: HttpRequest) -> HttpResponse:
    request.session.clear()
    return HttpResponse("cleared")


def flush(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return HttpResponse("flushed")


async def aclear(request: HttpRequest) -> HttpResponse:
    request.session.clear()
    return HttpResponse("cleared")


def save(request: HttpRequest) -> HttpResponse:
    request.session.save()
    return HttpResponse(request.session.session_key)


async def asave(request: HttpRequest) -> HttpResponse:
    await request.session.asave()
    return HttpResponse(request.session.session_key)


def ended_meanwhile(request: HttpRequest) -> HttpResponse:
    """Another request logs out, while this one changes the session."""
    request.session["late"] = True
    other = type(request.session)(request.session.session_key)
    other.flush()
    return HttpResponse("not reached")


urlpatterns = [
    path("", whole),
    path("put", put),
    path("aput", aput),
    path("login", log_in),
    path("logout", log_out),
    path("alogin", alog_in),
    path("alogout", alog_out),
    path("clear", clear),
    path("flush", flush),
    path("aclear", aclear),
    path("save", save),
    path("asave", asave),
    path("ended-meanwhile", ended_meanwhile),
]


def served() -> Any:
    """For a server, which gives it the ledger in a variable. It has no users."""
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["127.0.0.1"],
            ROOT_URLCONF=__name__,
            MIDDLEWARE=MIDDLEWARE[:1],
            SESSION_ENGINE=ENGINE,
            SESSIONLEDGER={"SESSIONS": lambda: SessionStore.open(os.environ["LEDGER"])},
        )
    django.setup()
    return get_wsgi_application()
