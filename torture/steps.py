"""A process that kills itself at one of its steps."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
_FUNCTIONS = {"add_events", "put_base", "set_cut", "remove_events", "_commit", "commit", "close"}


def die_at(step: int) -> None:
    """Kill this process once it begins its n-th step: a change of a folder, or a call that stores
    something."""
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

    sys.addaudithook(on_event)
    sys.setprofile(on_call)
