"""A ledger's address, and the log behind it.

    memory:                    in this process only
    sqlite:///sessions.db      a file, relative to the working directory
    sqlite:////var/lib/s.db    a file by its absolute path

Parsed as RFC 3986 does; percent-encoded bytes in the path are decoded. A backend's driver is
imported only when its address is opened.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from sessionledger.errors import InvalidURL
from sessionledger.logs.base import Log

DURABILITIES = ("full", "normal")
_KNOWN = "memory:, sqlite:///relative/path or sqlite:////absolute/path"


def open_log(url: str, *, durability: str = "full") -> Log:
    """Open the log at an address.

    durability: "full" answers after fsync; "normal" survives the process but not a power loss.
    Raises `InvalidURL` for an address that can't be understood, and what the log raises.
    """
    if not isinstance(url, str):
        raise InvalidURL(f"a ledger's address is text, not {type(url).__name__}")
    if durability not in DURABILITIES:
        raise InvalidURL(f"durability is 'full' or 'normal', not {durability!r}")
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return _memory(url)
    if scheme == "sqlite":
        return _sqlite(url, durability)
    said = f"begins with {scheme}:" if scheme else "has no scheme"
    raise InvalidURL(f"a ledger's address is {_KNOWN}; this one {said}")


def _memory(url: str) -> Log:
    if url not in ("memory:", "memory://"):
        raise InvalidURL("memory: takes nothing after it: each one is a log of its own")
    from sessionledger.logs.memory import MemoryLog

    return MemoryLog()


def _sqlite(url: str, durability: str) -> Log:
    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not parts.path.startswith("/") or not path or path.startswith(":"):
        raise InvalidURL(f"a SQLite ledger is sqlite:/// and a path; known are {_KNOWN}")
    if parts.query or parts.fragment:
        raise InvalidURL("a SQLite address takes no ? or #; as part of the path write %3F or %23")
    if "\0" in path:
        raise InvalidURL("a path can't hold a NUL character")
    from sessionledger.logs.sqlite import SQLiteLog

    return SQLiteLog(Path(path), durability=durability)
