"""Where the endpoints of a ledger are kept: beside it."""

from __future__ import annotations

from pathlib import Path

from sessionledger.ownership import resolved
from sessionledger.webhooks.endpoints import EndpointFile


def endpoint_file(ledger: Path | None, given: str | Path | None = None) -> EndpointFile | None:
    """The file that was given, or else the one of the ledger; None where there is neither.

    It is in the folder of a ledger that is one, or beside its file.
    """
    ledger = None if ledger is None else resolved(ledger)
    if given:
        return EndpointFile(Path(given), ledger)
    if ledger is None:
        return None
    if ledger.is_dir():
        return EndpointFile(ledger / "webhooks", ledger)
    return EndpointFile(ledger.with_name(ledger.name + "-webhooks"), ledger)
