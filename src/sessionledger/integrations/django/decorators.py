"""Decorators for views, whether they are coroutines or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest

from sessionledger.integrations.django.middleware import with_headers
from sessionledger.integrations.requirements import A_SESSION, Needs

V = TypeVar("V", bound=Callable[..., Any])


def needing(needs: Needs) -> Callable[[V], V]:
    """A view that needs more than a live session."""

    def decorate(view: V) -> V:
        guard = _coroutine if iscoroutinefunction(view) else _plain
        guarded: V = guard(view, needs)
        return guarded

    return decorate


def required(view: V) -> V:
    """A view for who has a live session; 401 without."""
    return needing(A_SESSION)(view)


def _plain(view: Any, needs: Needs) -> Any:
    @wraps(view)
    def guarded(request: HttpRequest, *given: Any, **told: Any) -> Any:
        request.ledger.required(needs)
        return with_headers(view(request, *given, **told), request.ledger)

    return guarded


def _coroutine(view: Any, needs: Needs) -> Any:
    @wraps(view)
    async def guarded(request: HttpRequest, *given: Any, **told: Any) -> Any:
        await request.ledger.arequired(needs)
        return with_headers(await view(request, *given, **told), request.ledger)

    return guarded
