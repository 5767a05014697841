"""Keeps tokens out of texts, and out of reports that show the local variables of a traceback.

Django's error pages, Sentry and `rich` show what each frame held when an exception passed. The
frames of this package hold tokens as plain text. So each public call that takes a token empties the
frames below it before it lets an exception out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import wraps
from types import CodeType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_COROUTINE = 0x80  # `inspect.CO_COROUTINE`, without importing that into every program
_PACKAGE = __name__.partition(".")[0]
_GENERATED = re.compile(r"harn_sess_[A-Za-z0-9_-]{43}")


def without_tokens(text: str) -> str:
    """The text with `harn_sess_...` in place of whatever has the shape of a generated token."""
    return _GENERATED.sub("harn_sess_...", text)


def without_locals(call: Callable[P, R]) -> Callable[P, R]:
    """The function, or the coroutine function, which lets no exception out with a token."""
    code: CodeType | None = getattr(call, "__code__", None)
    if code is not None and code.co_flags & _COROUTINE:

        @wraps(call)
        async def awaited(*given: Any, **named: Any) -> Any:
            try:
                return await call(*given, **named)  # type: ignore[misc]  # as its code says
            except BaseException as error:
                del given, named
                clear_locals(error)
                raise

        return cast(Callable[P, R], awaited)

    @wraps(call)
    def called(*given: P.args, **named: P.kwargs) -> R:
        try:
            return call(*given, **named)
        except BaseException as error:
            del given, named
            clear_locals(error)
            raise

    return called


def clear_locals(error: BaseException) -> TracebackType | None:
    """Empty the frames of this package that an exception, and what led to it, passed.

    Frames that still run keep what they hold. The answer is the traceback below these.
    """
    below = error.__traceback__
    for one in _related(error):
        trace = one.__traceback__
        while trace is not None:
            if not _clear(trace) and one is error:
                below = trace.tb_next
            trace = trace.tb_next
    return below


def _clear(trace: TracebackType) -> bool:
    """Whether the frame is over."""
    name = str(trace.tb_frame.f_globals.get("__name__", ""))
    if name.partition(".")[0] != _PACKAGE:
        return True
    try:
        trace.tb_frame.clear()
    except RuntimeError:
        return False
    return True


def _related(error: BaseException) -> Iterator[BaseException]:
    """The exception, its causes, and those that were under way."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        yield one
