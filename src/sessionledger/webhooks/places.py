"""Where the endpoints of a ledger are kept: beside it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote


def file_of(url: str) -> Path | None:
    """The file beside the ledger at an address; None for a ledger that is in no place."""
    scheme, _, rest = url.partition(":")
    match scheme.lower():
        case "sqlite":
            path = Path(unquote(rest.removeprefix("///")))
            return path.with_name(path.name + "-webhooks")
        case "file":
            place = rest.removeprefix("//") if rest.startswith("///") else rest
            return Path(unquote(place)) / "webhooks"
    return None
