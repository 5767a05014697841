"""The log of files that people can read. Imported when it is used: its lines take much less."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessionledger.logs.file.log import FileLog

__all__ = ["FileLog"]


def __getattr__(name: str) -> Any:
    if name != "FileLog":
        raise AttributeError(name)
    from sessionledger.logs.file.log import FileLog

    return FileLog
