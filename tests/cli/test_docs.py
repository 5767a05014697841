"""The examples of docs/cli.md and of other pages, each run from top to bottom in one folder.

`$ ` begins a command; the lines after it are its output, standard error first; `…` stands for
anything; `[exit N]` is its exit code where it is not 0.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.cli.running import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "cli.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\[exit (\d+)\]")
_END = "=== exit"


class Example(msgspec.Struct):
    command: str
    output: list[str]
    code: int = 0


def examples(block: str) -> list[Example]:
    found: list[Example] = []
    for text in block.splitlines():
        if text.startswith("$ "):
            found.append(Example(text[2:], []))
        elif told := _EXIT.fullmatch(text):
            found[-1].code = int(told[1])
        else:
            found[-1].output.append(text)
    return found


def has_examples(page: Path) -> bool:
    return _BLOCK.search(page.read_text()) is not None


def run(block: list[Example], folder: Path, apart: Path) -> list[tuple[str, int]]:
    """What each command of a block printed, and its exit code; they share one shell."""
    script = "set -o pipefail\n" + "".join(
        f"{{ {example.command}\n}} >out 2>err; code=$?\ncat err out; echo '{_END}' $code\n"
        for example in block
    )
    folders = [str(apart), os.environ["PATH"]]
    variables = {k: v for k, v in os.environ.items() if not k.startswith("SESSIONLEDGER_")}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=variables | {"PATH": os.pathsep.join(folders)},
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    parts = re.split(rf"{_END} (\d+)\n", done.stdout.decode())
    return [(out, int(code)) for out, code in zip(parts[::2], parts[1::2], strict=False)]


def matches(expected: list[str], found: str) -> bool:
    pattern = "\n".join(".*".join(map(re.escape, text.split("…"))) for text in expected)
    return re.fullmatch(pattern, found.removesuffix("\n")) is not None


# Its examples ask a service: tests/server runs them.
OF_THE_SERVICE = "http.md"
PAGES = sorted({page.name for page in DOCS.glob("*.md") if has_examples(page)} - {OF_THE_SERVICE})


@pytest.mark.parametrize("name", PAGES)
def test_every_example_does_what_the_page_says(name: str, tmp_path: Path, apart: Path) -> None:
    blocks = [examples(block) for block in _BLOCK.findall((DOCS / name).read_text())]
    for block in blocks:
        for example, (out, code) in zip(block, run(block, tmp_path, apart), strict=True):
            assert code == example.code, (example.command, out)
            assert matches(example.output, out), (example.command, example.output, out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_on_the_page(command: str) -> None:
    assert re.search(rf"^### `{command}\b", PAGE.read_text(), re.MULTILINE)
