"""A log that the suite calls plainly, while each call goes through an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from sessionledger import Log
from sessionledger.logs.adapters.threads import for_loops


class InLoops:
    """Each call in its asynchronous colour, in an event loop that ends with the call."""

    def __init__(self, log: Log) -> None:
        self._log = for_loops(log)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._log, name)

        async def called(*given: Any, **named: Any) -> Any:
            return await call(*given, **named)

        return lambda *given, **named: asyncio.run(called(*given, **named))

    def fold_with(self, topic: str, fold: Any) -> None:
        self._log.fold_with(topic, fold)


def opened(open: Callable[[Path], Log], path: Path) -> Log:
    """The log at a path, called in loops."""
    return cast(Log, InLoops(open(path)))
