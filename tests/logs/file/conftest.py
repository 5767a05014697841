"""A ledger of files, opened or yet to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger.logs.file import FileLog
from tests.logs.file.locations import opened


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a ledger that is not there yet."""
    return tmp_path / "ledger"


@pytest.fixture
def log(root: Path) -> Iterator[FileLog]:
    with opened(root) as log:
        yield log
