"""What every part of the asynchronous store rests on."""

from __future__ import annotations

from sessionledger.logs.base import Log
from sessionledger.store.engine import Engine


class Part:
    """An engine over a bridge to the log, and the log itself, which answers reads in place."""

    _engine: Engine
    _log: Log
