"""Long examinations of the ledger, in the background of the console's process, one at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sessionledger import SessionLedgerError

Told: TypeAlias = Callable[..., None]
"""Told how much is done, and perhaps of how much."""


class Job:
    """One examination: who began it and when, how far it is, and what it found.

    failure: why it came to no result. total: 0 where it is not known.
    """

    def __init__(self, kind: str, by: str, total: int) -> None:
        self.kind = kind
        self.by = by
        self.begun_at = datetime.now(UTC)
        self.ended_at: datetime | None = None
        self.done, self.total = 0, total
        self.result: Any = None
        self.failure: str | None = None
        self._begun = time.monotonic()
        self.seconds = 0.0

    def tell(self, done: int, total: int | None = None) -> None:
        """It came so far."""
        self.done = done
        self.total = max(self.total if total is None else total, done)

    async def run(self, work: Callable[[Told], Awaitable[Any]]) -> None:
        """Do the work, and keep what it answers."""
        try:
            self.result = await work(self.tell)
        except SessionLedgerError as error:
            self.failure = str(error)
        except asyncio.CancelledError:
            self.failure = "It was stopped."
            raise
        except Exception as error:  # noqa: BLE001  a page says it, since nobody awaits the task
            self.failure = f"It failed: {type(error).__name__}"
        finally:
            self.ended_at = datetime.now(UTC)
            self.seconds = time.monotonic() - self._begun


class Jobs:
    """The job that runs, and the last one of each kind that ended."""

    def __init__(self) -> None:
        self.running: Job | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended: dict[str, Job] = {}

    def start(
        self, kind: str, by: str, work: Callable[[Told], Awaitable[Any]], total: int = 0
    ) -> bool:
        """Begin it, unless another one runs; whether it was begun."""
        if self.running is not None:
            return False
        job = self.running = Job(kind, by, total)
        self._task = asyncio.create_task(job.run(work))
        self._task.add_done_callback(lambda _: self._keep(job))
        return True

    def ended(self, kind: str) -> Job | None:
        """The last one of a kind that ended, since the console started."""
        return self._ended.get(kind)

    async def stop(self) -> None:
        """Stop the job that runs."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def _keep(self, job: Job) -> None:
        self.running = None
        self._ended[job.kind] = job
