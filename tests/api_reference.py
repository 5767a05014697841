"""The page docs/api.md: each public name with the first sentence of its docstring.

`python -m tests.api_reference` writes it; tests/test_exports.py holds it to the code.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from sessionledger.testing.conformance import Conformance
from tests.prose.sentences import sentences_in

PAGE = Path(__file__).parent.parent / "docs" / "api.md"
MODULES = [
    "sessionledger",
    "sessionledger.integrations",
    "sessionledger.integrations.devices",
    "sessionledger.integrations.starlette",
    "sessionledger.integrations.starlette.devices",
    "sessionledger.integrations.fastapi",
    "sessionledger.integrations.fastapi.devices",
    "sessionledger.integrations.litestar",
    "sessionledger.integrations.litestar.devices",
    "sessionledger.integrations.flask",
    "sessionledger.integrations.flask.devices",
    "sessionledger.integrations.django",
    "sessionledger.integrations.django.devices",
    "sessionledger.server",
    "sessionledger.web.backchannel",
    "sessionledger.webhooks.signing",
    "sessionledger.backend",
    "sessionledger.testing",
    "sessionledger.testing.conformance",
]
HEAD = """# API reference

Every public name, with the first sentence of its docstring. `help(name)` shows the rest.
Names that are not on this page may change. The [index](index.md#public-names) says which page
explains each. `make api` writes this page.
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_part(importlib.import_module(name)) for name in MODULES)


def _part(module: ModuleType) -> str:
    rows = [f"| `{name}` | {_cell(summary_of(module, name))} |" for name in module.__all__]
    text = "\n".join([f"\n## {module.__name__}\n", "| Name | What it is |", "| --- | --- |", *rows])
    return text + "\n" + "".join(_methods(module, name) for name in module.__all__)


def _methods(module: ModuleType, name: str) -> str:
    rows = [
        f"| `{member}{_parameters(value)}` | {_cell(summary)} |"
        for member, value, summary in members_of(getattr(module, name))
        if summary
    ]
    head = [f"\n### {name}\n", "| Member | What it does |", "| --- | --- |"]
    return "\n".join([*head, *rows]) + "\n" if rows else ""


def summary_of(module: ModuleType, name: str) -> str:
    """The first sentence about a public name; empty if nothing is said of it."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        return _first(inspect.getdoc(value))
    return _first(_said_below(_source_of(module, name), name))


def members_of(value: object) -> Iterator[tuple[str, object, str]]:
    """The public methods and properties of a class of this package, each with its first sentence.

    Nothing for a theme of the suite: the name of a test is the sentence.
    """
    if not inspect.isclass(value) or issubclass(value, Conformance):
        return
    for name, member in inspect.getmembers(value):
        owner = next((base for base in value.__mro__ if name in vars(base)), object)
        callable_or_property = inspect.isroutine(member) or isinstance(member, property)
        ours = owner.__module__.startswith("sessionledger.")
        if ours and callable_or_property and not name.startswith("_"):
            yield name, member, _first(inspect.getdoc(member))


def _parameters(member: object) -> str:
    """The parameters by name; nothing for a property."""
    if not callable(member):
        return ""
    texts: list[str] = []
    for each in inspect.signature(member).parameters.values():
        if each.kind is each.KEYWORD_ONLY and not any(text.startswith("*") for text in texts):
            texts.append("*")
        sign = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(each.kind.name, "")
        texts += [] if each.name in ("self", "cls") else [sign + each.name]
    return f"({', '.join(texts)})"


def _first(said: str | None) -> str:
    paragraph = " ".join((said or "").partition("\n\n")[0].split())
    return sentences_in(paragraph)[0] if paragraph else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _source_of(module: ModuleType, name: str) -> ModuleType:
    """The module in which a value is defined that carries no docstring itself."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and any(a.name == name for a in node.names):
            assert node.module is not None
            return _source_of(importlib.import_module(node.module), name)
    return module


def _said_below(module: ModuleType, name: str) -> str:
    """The text below the assignment of a name."""
    body = ast.parse(inspect.getsource(module)).body
    for node, below in pairwise(body):
        match node, below:
            case (
                ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)),
                ast.Expr(value=ast.Constant(value=str(said))),
            ) if found == name:
                return said
    return ""


if __name__ == "__main__":
    PAGE.write_text(page())
