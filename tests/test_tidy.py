"""The house rules that a reader should be able to rely on."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "sessionledger"
MODULES = sorted(SOURCE.rglob("*.py"))

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
NINETIETH_PERCENTILE_LINES = 30
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}

# What each part may import of ours; everybody may import `errors` and `canonical`.
MAY_IMPORT = {
    "errors": set(),
    "canonical": set(),
    "findings": set(),
    "core": {"core", "errors", "canonical"},
    "logs": {"logs", "errors", "canonical", "findings"},
    "store": {"store", "core", "logs", "errors", "canonical", "findings"},
    "backend": {"logs", "errors", "findings"},
    "testing": {"testing", "store", "core", "logs", "errors", "canonical", "findings", ""},
    "webhooks": {"webhooks", ""},
    "web": {"web", ""},
    "integrations": {"integrations", "web", ""},
    # A replay must know the handle before the session is there, which only a token tells.
    "server": {"server", "webhooks", "web", "core", ""},
    "cli": {"cli", "server", "webhooks", ""},
    "": {"core", "logs", "store", "errors", "findings"},
}
ENTRY_POINTS = {
    "sessionledger",
    "sessionledger.cli.__main__",
    "sessionledger.cli.main",
    "sessionledger.backend",
    "sessionledger.integrations.django",
    "sessionledger.integrations.django.sessions",
    "sessionledger.integrations.fastapi",
    "sessionledger.integrations.flask",
    "sessionledger.integrations.litestar",
    "sessionledger.server.app",
    "sessionledger.testing.conformance",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


class Facts(NamedTuple):
    """What a module is asked about, so that it is parsed once."""

    imports: set[str]
    functions: list[tuple[str, int]]
    classes: list[str]
    calls: set[str]


@cache
def facts_of(path: Path) -> Facts:
    facts = Facts(set(), [], [], set())
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ImportFrom(module=module) if (module or "").startswith("sessionledger"):
                facts.imports.update(_imported(node))
            case ast.Import(names=names):
                facts.imports.update(a.name for a in names if a.name.startswith("sessionledger"))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                assert node.end_lineno is not None
                facts.functions.append((name, node.end_lineno - node.lineno + 1))
            case ast.ClassDef(name=name):
                facts.classes.append(name)
            case ast.Call(func=ast.Name() | ast.Attribute() as called):
                facts.calls.add(ast.unparse(called))
    return facts


def part_of(module: str) -> str:
    """`core`, `logs`, … of a module's full name; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def _imported(node: ast.ImportFrom) -> Iterator[str]:
    """The modules named: `from package import module` names the module, not the package."""
    assert node.level == 0, "imports are absolute"
    for alias in node.names:
        whole = f"{node.module}.{alias.name}"
        yield whole if whole in NAMES else str(node.module)


def test_imports_point_one_way() -> None:
    for name, path in zip(map(name_of, MODULES), MODULES, strict=True):
        allowed = MAY_IMPORT[part_of(name)]
        assert not [m for m in facts_of(path).imports if part_of(m) not in allowed], name


def test_modules_are_small() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_MODULE_LINES}


def test_functions_are_small() -> None:
    lengths = {
        f"{name_of(path)}.{name}": lines
        for path in MODULES
        for name, lines in facts_of(path).functions
    }
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES}
    assert statistics.quantiles(lengths.values(), n=10)[-1] <= NINETIETH_PERCENTILE_LINES


def test_no_file_is_dead() -> None:
    """Every module is reached by imports from the package or a command."""
    paths = {name_of(path): path for path in MODULES}
    reached: set[str] = set()
    waiting = set(ENTRY_POINTS)
    while waiting:
        module = waiting.pop()
        reached.add(module)
        parents = {module.rpartition(".")[0]} - {""}
        waiting |= ({*facts_of(paths[module]).imports, *parents}) - reached
    assert set(paths) - reached == set()


def test_no_name_says_nothing() -> None:
    for path in MODULES:
        assert path.stem not in BANNED_NAMES
        for name in facts_of(path).classes:
            assert not name.lower().endswith(tuple(BANNED_NAMES)), f"{path}: {name}"


TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *(SOURCE / "testing").rglob("*.py")])


def test_no_test_sleeps() -> None:
    assert not [path for path in TESTS if facts_of(path).calls & {"time.sleep", "sleep"}]


def test_the_library_prints_nothing() -> None:
    silent = [path for path in MODULES if part_of(name_of(path)) != "cli"]
    assert not [path for path in silent if "print" in facts_of(path).calls]
