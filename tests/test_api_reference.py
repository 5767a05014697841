"""Every public name says what it is, and stands in the API reference."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from sessionledger.logs.base import Log
from tests.api_reference import MODULES, PAGE, members_of, page, summary_of


def test_the_reference_is_what_the_docstrings_say() -> None:
    assert PAGE.read_text() == page(), "`make api` writes docs/api.md"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert [public for public in module.__all__ if not summary_of(module, public)] == []


@pytest.mark.parametrize("name", MODULES)
def test_every_public_method_says_what_it_does(name: str) -> None:
    """By its docstring, or that of its class, or the one contract of both kinds of logs."""
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        silent = [
            member
            for member, _, summary in members_of(value)
            if not summary and not re.search(rf"\b{member}\b", inspect.getdoc(value) or "")
        ]
        contract = {member for member, _, summary in members_of(Log) if summary}
        assert not {*silent} - (contract if public == "AsyncLog" else set()), public
