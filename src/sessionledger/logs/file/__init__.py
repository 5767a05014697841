"""The log of files that people can read: a line of JSON for every event."""

from sessionledger.logs.file.log import FileLog

__all__ = ["FileLog"]
