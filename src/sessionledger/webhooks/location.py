"""Where the endpoints of a ledger are kept: beside it."""

from __future__ import annotations

from pathlib import Path


def file_beside(ledger: Path) -> Path:
    """The file of the endpoints: in the folder of a ledger that is one, or beside its file."""
    return ledger / "webhooks" if ledger.is_dir() else ledger.with_name(ledger.name + "-webhooks")
