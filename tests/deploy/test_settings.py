"""What the files of `deploy/` say of the service is true of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sessionledger.cli.commands.serve import HELP
from tests.deploy.exposition import DEPLOY

FILES = [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()]
_VARIABLE = re.compile(r"\bSESSIONLEDGER_([A-Z_]+)")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_variable_is_a_setting(path: Path) -> None:
    settings = {name.upper() for name in HELP} | {"URL"}
    assert {name for name in _VARIABLE.findall(path.read_text()) if name not in settings} == set()
