"""Django: a middleware with `request.ledger_session`, and decorators, for views of both colours.

MIDDLEWARE = [..., "sessionledger.integrations.django.LedgerMiddleware"]
SESSIONLEDGER = {"OPEN": lambda: SessionStore.open("sqlite:///sessions.db")}


@required
def account(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.ledger_session.required().principal)
"""

from __future__ import annotations

from sessionledger.integrations.extras import missing

try:
    import django  # noqa: F401
except ModuleNotFoundError as error:
    raise missing("django") from error

from sessionledger.integrations.django.configuration import engine_store, store
from sessionledger.integrations.django.decorators import required, requiring
from sessionledger.integrations.django.ledger_session import DjangoRequestSession, Refused
from sessionledger.integrations.django.middleware import LedgerMiddleware

__all__ = [
    "DjangoRequestSession",
    "LedgerMiddleware",
    "Refused",
    "engine_store",
    "required",
    "requiring",
    "store",
]
