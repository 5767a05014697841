"""What a report that shows the locals of a traceback would show, of this package's frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def locals_in(error: BaseException) -> Iterator[str]:
    """Each local variable, as reports show it: its name and its `repr`."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        trace = one.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            module = str(frame.f_globals.get("__name__"))
            if module.partition(".")[0] == "sessionledger":
                for name, value in frame.f_locals.items():
                    yield f"{module}.{frame.f_code.co_name}: {name} = {value!r}"
            trace = trace.tb_next


def frames_in(error: BaseException) -> int:
    """How many frames of the package an exception passed."""
    count, trace = 0, error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__"))
        count += module.partition(".")[0] == "sessionledger"
        trace = trace.tb_next
    return count


def caught(call: Callable[[], Any]) -> BaseException | None:
    """What a call raises, if it raises anything."""
    try:
        call()
    except BaseException as error:
        return error
    return None


def raised_by(call: Callable[[], Any]) -> BaseException:
    """What a call raises."""
    error = caught(call)
    assert error is not None
    return error


def shown(error: BaseException, secret: str) -> list[str]:
    """The locals that show a secret, or a good part of it."""
    parts = [secret, secret[:24], secret[-24:]]
    return [line for line in locals_in(error) if any(part in line for part in parts)]
