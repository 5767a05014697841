"""A log in one SQLite file. Imported when it is first used: a snapshot takes much less."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessionledger.logs.sqlite.log import SQLiteLog

__all__ = ["SQLiteLog"]


def __getattr__(name: str) -> Any:
    if name != "SQLiteLog":
        raise AttributeError(name)
    from sessionledger.logs.sqlite.log import SQLiteLog

    return SQLiteLog
