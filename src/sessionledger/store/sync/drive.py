"""Driving coroutines in place: what the synchronous store has instead of a loop or a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from sessionledger.secrecy import without_locals

P = ParamSpec("P")
T = TypeVar("T")


def in_place(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """A method of the asynchronous store as one of the synchronous store."""
    # Its own frames are emptied here, once.
    coroutine: Callable[..., Coroutine[Any, Any, T]] = getattr(method, "__wrapped__", method)

    @without_locals
    @wraps(method)
    def called(self: Any, /, *given: P.args, **named: P.kwargs) -> T:
        return drive(coroutine(self, *given, **named))

    return called


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    raise AssertionError("an embedded log suspended")


def drive_all(items: AsyncIterator[T]) -> Iterator[T]:
    """The items of an asynchronous generator that never suspends."""
    while True:
        try:
            item = drive(cast(Coroutine[Any, Any, T], anext(items)))
        except StopAsyncIteration:
            return
        yield item
