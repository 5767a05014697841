"""The embedded default: a SQLite file in WAL mode, shared by any number of processes."""

from sessionledger.logs.sqlite.log import SQLiteLog

__all__ = ["SQLiteLog"]
