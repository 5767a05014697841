"""The application of the conformance suite, in Django: views that are coroutines."""

from __future__ import annotations

import asyncio

from django.http import HttpRequest, HttpResponse
from django.urls import path

from sessionledger.integrations.django import required, requiring, store
from tests.integrations.apps.django_app import name_of
from tests.integrations.site import ADMIN, RECENT, SCOPED, SHARED


async def opened(_: HttpRequest) -> HttpResponse:
    return HttpResponse("open")


async def current(request: HttpRequest) -> HttpResponse:
    return name_of(await request.ledger_session.asession())


async def shared(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await current(request)).content, headers=SHARED)


async def twice(request: HttpRequest) -> HttpResponse:
    first = await request.ledger_session.arequired()
    await asyncio.to_thread(store().revoke, handle=first.handle)
    second = await request.ledger_session.arequired()
    return HttpResponse(f"{first.principal} {second.principal}")


async def log_in(request: HttpRequest) -> HttpResponse:
    await request.ledger_session.alog_in(request.GET["principal"], parent=request.GET.get("parent"))
    return await current(request)


async def log_out(request: HttpRequest) -> HttpResponse:
    await request.ledger_session.alog_out()
    return await current(request)


async def log_out_everywhere(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await request.ledger_session.alog_out_everywhere()))


async def change_credentials(request: HttpRequest) -> HttpResponse:
    await request.ledger_session.achange_credentials()
    return await current(request)


async def rotate(request: HttpRequest) -> HttpResponse:
    await request.ledger_session.arotate(principal=request.GET.get("principal"))
    return await current(request)


urlpatterns = [
    path("open", opened),
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
]
