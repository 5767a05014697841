"""Work that is killed at one of its steps, in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
_FUNCTIONS = {"add_events", "put_base", "set_cut", "remove_events", "_commit", "commit", "close"}


def kills(work: Callable[[], None]) -> Iterator[int]:
    """Kill the work at each of its steps; the step, after each."""
    step = 1
    while _is_killed(work, step):
        yield step
        step += 1


def _is_killed(work: Callable[[], None], step: int) -> bool:
    pid = os.fork()
    if not pid:
        _work(work, step)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or not os.waitstatus_to_exitcode(status)
    return os.WIFSIGNALED(status)


def _work(work: Callable[[], None], step: int) -> None:
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_event(name: str, arguments: tuple[Any, ...]) -> None:
        if name in _CHANGES or (name == "open" and arguments[2] & os.O_CREAT):
            count()

    def on_call(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name in _FUNCTIONS:
            count()

    try:
        sys.addaudithook(on_event)
        sys.setprofile(on_call)
        work()
    except BaseException:  # the parent sees it by the exit code
        sys.setprofile(None)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
