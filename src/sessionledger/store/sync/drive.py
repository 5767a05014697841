"""Driving coroutines in place: what the synchronous store has instead of a loop or a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar, cast

T = TypeVar("T")


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
