"""Calls within a request, which refuse it while the ledger is away."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

from sessionledger import LogUnavailable
from sessionledger.secrecy import without_locals
from sessionledger.web.challenges import Denied, unavailable

Refuse: TypeAlias = Callable[[Denied], Exception]
"""Makes the framework's exception of what is denied."""


class Refusing(Protocol):
    """What belongs to a request."""

    refuse: Refuse


P = ParamSpec("P")
S = TypeVar("S", bound=Refusing)
T = TypeVar("T")


def answered(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The method, which refuses with 503 while the ledger is away."""

    @without_locals
    @wraps(method)
    async def called(self: S, /, *given: P.args, **named: P.kwargs) -> T:
        try:
            return await method(self, *given, **named)
        except LogUnavailable as error:
            raise self.refuse(unavailable(error.code)) from error

    return called
