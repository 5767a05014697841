"""A progress bar for commands that turn out to take long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sessionledger.cli.output.stdout import can_draw

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 1.0


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[LateBar | None]:
    """A function that is told how much is done; None where nobody is looking at stderr.

    total: how much there is, None where that is not known yet.
    """
    if not (sys.stderr.isatty() and can_draw()):
        yield None
        return
    bar = LateBar(label, total)
    try:
        yield bar
    finally:
        bar.stop()


class LateBar:
    """A bar on stderr that appears once the work has taken longer than a second."""

    def __init__(
        self, label: str, total: int | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label = label
        self._total = total
        self._clock = clock
        self._began = clock()
        self._drawn: tuple[Progress, TaskID] | None = None

    def __call__(self, done: int, total: int | None = None) -> None:
        """So much is done; total: of how much, where that is known only now."""
        self._total = total or self._total
        if self._drawn is None and self._clock() - self._began > PATIENCE_SECONDS:
            self._drawn = self._draw()
        if self._drawn is not None:
            bar, task = self._drawn
            bar.update(task, completed=done, total=self._total)

    def stop(self) -> None:
        """Take the bar off the screen, where it was drawn."""
        if self._drawn is not None:
            self._drawn[0].stop()

    def _draw(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import Progress

        bar = Progress(console=Console(file=sys.stderr), transient=True)
        bar.start()
        return bar, bar.add_task(self._label, total=self._total)
