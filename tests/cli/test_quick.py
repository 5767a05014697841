"""`get` without the framework answers what Typer answers."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from sessionledger.cli import main as door
from sessionledger.cli.quick import Get, plain_get
from tests.cli.running import Answer, Line

PLAIN = (
    ("get",),
    ("get", "--json"),
    ("get", "--json", "--json"),
    ("get", "--ledger", "sessions.db"),
    ("get", "--ledger", "sqlite:///nowhere.db"),
    ("get", "--ledger", "nonsense:"),
    ("get", "--ledger", ""),
    ("get", "--topic", "another"),
    ("get", "--topic", ""),
    ("get", "--topic", "a b", "--json"),
    ("get", "--handle", "sha256:v1:" + "0" * 64),
    ("get", "--handle", "nonsense", "--json"),
    ("get", "--handle", ""),
    ("get", "--handle", "x", "--handle", "y"),
)
OTHERS = (
    (),
    ("create", "--json"),
    ("get", "--help"),
    ("get", "-l", "sessions.db"),
    ("get", "--ledger"),
    ("get", "--ledger=sessions.db"),
    ("get", "--ledger", "--json"),
    ("get", "harn_sess_nonsense"),
    ("get", "--led", "sessions.db"),
    ("--json", "get"),
)


def by_typer(line: Line, *arguments: str, **variables: str) -> Answer:
    with patch("sessionledger.cli.quick.plain_get", lambda arguments: None):
        return line(*arguments, **variables)


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
@pytest.mark.parametrize("known", [True, False])
def test_its_answer_is_typers(line: Line, arguments: tuple[str, ...], known: bool) -> None:
    token, _ = line.create()
    given = token if known else "harn_sess_" + "x" * 43
    assert plain_get(arguments) is not None
    quick = line(*arguments, SESSIONLEDGER_TOKEN=given)
    assert quick == by_typer(line, *arguments, SESSIONLEDGER_TOKEN=given)


@pytest.mark.parametrize("url", ["", "sqlite:///other.db", "sessions.db"])
def test_its_ledger_is_the_variables_too(line: Line, url: str) -> None:
    token, _ = line.create()
    variables = {"SESSIONLEDGER_TOKEN": token, "SESSIONLEDGER_URL": url}
    assert line("get", **variables) == by_typer(line, "get", **variables)


@pytest.mark.parametrize("arguments", OTHERS, ids=" ".join)
def test_all_else_is_typers(arguments: tuple[str, ...]) -> None:
    assert plain_get(arguments) is None


def test_the_last_of_an_option_counts() -> None:
    found = plain_get(["get", "--topic", "one", "--topic", "two"])
    assert found == Get("sqlite:///sessions.db", "two", None, False)


def test_the_framework_is_not_imported(line: Line) -> None:
    token, handle = line.create()
    program = f"""
import os, sys
os.environ["SESSIONLEDGER_TOKEN"] = {token!r}
from {door.__name__} import main
assert main(["get"]) == 0
heavy = {{"typer", "rich", "pydantic", "asyncio", "opentelemetry"}} & set(sys.modules)
assert not heavy, heavy
"""
    answer = line.program(program)
    assert (answer.code, answer.err) == (0, "")
    assert handle in answer.out
