"""Django: a middleware with `request.ledger`, and decorators, for views of both colours.

MIDDLEWARE = [..., "sessionledger.integrations.django.LedgerMiddleware"]
SESSIONLEDGER = {"OPEN": lambda: SessionStore.open("sqlite:///sessions.db")}


@required
def account(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.ledger.required().principal)
"""

from __future__ import annotations

from sessionledger.integrations.extras import missing

try:
    import django  # noqa: F401
except ModuleNotFoundError as error:
    raise missing("django") from error

from sessionledger.integrations.django.decorators import needing, required
from sessionledger.integrations.django.ledger import store, store_of_sessions
from sessionledger.integrations.django.middleware import LedgerMiddleware
from sessionledger.integrations.django.request_session import DjangoVisit, Refused

__all__ = [
    "DjangoVisit",
    "LedgerMiddleware",
    "Refused",
    "needing",
    "required",
    "store",
    "store_of_sessions",
]
