"""docs/http.md: every endpoint is there, and its examples do what it says; so do the README's."""

from __future__ import annotations

import re
from pathlib import Path

from sessionledger.server.app import ROUTES
from tests.cli.forking import commands
from tests.cli.test_docs import Example, examples, matches, run
from tests.server.served import Served
from tests.servers import program

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "http.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDRESS = "127.0.0.1:8420"


def test_every_endpoint_is_on_the_page() -> None:
    page = PAGE.read_text()
    for route in ROUTES:
        for path in route.paths:
            for method in {*route.http_methods} - {"OPTIONS"}:
                assert f"`{method} {path.replace(':str', '')}`" in page


def test_every_example_does_what_the_page_says(tmp_path: Path) -> None:
    program("jq")
    first, *others = [examples(block) for block in _BLOCK.findall(PAGE.read_text())]
    others += [
        examples(block)
        for block in _BLOCK.findall((ROOT / "README.md").read_text())
        if "curl" in block
    ]
    assert len(others) >= 15
    apart = tmp_path / "bin"
    folder = tmp_path / "work"
    apart.mkdir()
    folder.mkdir()
    with commands(apart):
        check(first, folder, apart)
        _check_served(others, folder, apart)


def _check_served(blocks: list[list[Example]], folder: Path, apart: Path) -> None:
    with Served(folder, "--no-access-log") as served:
        for block in blocks:
            for example in block:
                example.command = example.command.replace(_ADDRESS, "{}:{}".format(*served.address))
            check(block, folder, apart)


def check(block: list[Example], folder: Path, apart: Path) -> None:
    for example, (out, code) in zip(block, run(block, folder, apart), strict=True):
        assert code == example.code, (example.command, out)
        assert matches(example.output, out), (example.command, example.output, out)
