"""Work that is killed at one of its steps, in a process of its own."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator

from torture.steps import die_at


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
    try:
        die_at(step)
        work()
    except BaseException:  # the parent sees it by the exit code
        sys.setprofile(None)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
