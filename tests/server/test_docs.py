"""docs/http.md: every endpoint is there, and its examples do what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from sessionledger.server.app import ROUTES
from tests.cli.test_docs import Example, examples, matches, run
from tests.server.served import Served

PAGE = Path(__file__).parents[2] / "docs" / "http.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDRESS = "127.0.0.1:8420"


def test_every_endpoint_is_on_the_page() -> None:
    page = PAGE.read_text()
    for route in ROUTES:
        for path in route.paths:
            for method in {*route.http_methods} - {"OPTIONS"}:
                assert f"`{method} {path.replace(':str', '')}`" in page


def test_every_example_does_what_the_page_says(tmp_path: Path) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed: apt-get install jq")
    first, *others = [examples(block) for block in _BLOCK.findall(PAGE.read_text())]
    assert len(others) >= 15
    check(first, tmp_path)
    with Served(tmp_path, "--no-access-log") as served:
        for block in others:
            for example in block:
                example.command = example.command.replace(_ADDRESS, "{}:{}".format(*served.address))
            check(block, tmp_path)


def check(block: list[Example], folder: Path) -> None:
    for example, (out, code) in zip(block, run(block, folder), strict=True):
        assert code == example.code, (example.command, out)
        assert matches(example.output, out), (example.command, example.output, out)
