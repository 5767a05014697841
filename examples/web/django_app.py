"""A Django project with sessions of its own, in one file: no other process to run.

    LEDGER=sqlite:///sessions.db gunicorn --chdir examples/web --workers 2 django_app:application

Log in begins a session and ends whatever session the browser came with. What matters asks for a
recent proof; a new password gives a new token and ends all other sessions, whoever holds them.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from sessionledger import Policy, SessionStore
from sessionledger.integrations import Requirements, Settings, user_agent_and_address

if not settings.configured:  # where this file is the project's, a module of its own does this
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["sessionledger.integrations.django.LedgerMiddleware"],
        SESSIONLEDGER={
            "OPEN": lambda: SessionStore.open(os.environ["LEDGER"], policy=Policy.aal2()),
            "SETTINGS": Settings(realm="example", context=user_agent_and_address),
        },
    )

from sessionledger.integrations.django import required, requiring
from sessionledger.integrations.django.devices import urls

RECENT = Requirements(max_auth_age=timedelta(minutes=10))


def log_in(request: HttpRequest) -> HttpResponse:
    """Check the password as your application does: `django.contrib.auth.authenticate`."""
    told = json.loads(request.body)
    if told["password"] != "correct horse":
        return HttpResponse("name or password are wrong", status=401)
    request.ledger_session.log_in(told["name"])
    return HttpResponse(f"welcome, {told['name']}")


@required
def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"hello, {request.ledger_session.required().principal}")


@requiring(RECENT)
def change_password(request: HttpRequest) -> HttpResponse:
    """A new token here, and the end of all other sessions."""
    request.ledger_session.change_credentials(reason="password changed")
    return HttpResponse("changed")


def log_out_everywhere(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{request.ledger_session.log_out_everywhere()} logged out")


def log_out(request: HttpRequest) -> HttpResponse:
    request.ledger_session.log_out()
    return HttpResponse("goodbye")


urlpatterns = [
    path("login", log_in),
    path("", home),
    path("account/", include(urls())),  # where one is logged in
    path("password", change_password),
    path("logout-everywhere", log_out_everywhere),
    path("logout", log_out),
]

application = get_wsgi_application()
