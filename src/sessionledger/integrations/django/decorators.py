"""Decorators for views, whether they are coroutines or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest

from sessionledger.integrations.django.middleware import with_headers
from sessionledger.integrations.requirements import A_SESSION, Requirements

V = TypeVar("V", bound=Callable[..., Any])


def requiring(requirements: Requirements) -> Callable[[V], V]:
    """A view for requests whose session meets the requirements."""

    def decorate(view: V) -> V:
        guard = _coroutine if iscoroutinefunction(view) else _plain
        guarded: V = guard(view, requirements)
        return guarded

    return decorate


def required(view: V) -> V:
    """A view for requests with a live session; 401 without."""
    return requiring(A_SESSION)(view)


def _plain(view: Any, requirements: Requirements) -> Any:
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        request.ledger_session.required(requirements)
        return with_headers(view(request, *args, **kwargs), request.ledger_session)

    return guarded


def _coroutine(view: Any, requirements: Requirements) -> Any:
    @wraps(view)
    async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        await request.ledger_session.arequired(requirements)
        return with_headers(await view(request, *args, **kwargs), request.ledger_session)

    return guarded
