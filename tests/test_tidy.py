"""The house rules that a reader should be able to rely on."""

from __future__ import annotations

import ast
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sessionledger.cli.commands import COMMANDS
from tests.ratchet_history import Change, log_of, unexplained

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
SOURCE = ROOT / "src" / "sessionledger"
MODULES = sorted(SOURCE.rglob("*.py"))

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60
NINETIETH_PERCENTILE_LINES = 30
MAX_FOLDER_MODULES = 12
SMALL_MODULE_LINES = 60
MAX_ARCHITECTURE_LINES = 200
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}

# Names that occur more than once within a part: the same role for another of the kind.
SAME_ROLE = {
    # Of a log.
    "logs": {
        *("compactable", "compactor", "connection", "examination", "log"),
        *("queries", "staging", "transactions", "writer"),
    },
    "store": {"store"},  # of a colour
    "integrations": {"backchannel", "devices", "extension"},  # of a framework
}
# Folders that are larger than a dozen, and why.
LARGE_FOLDERS = {
    "store/operations": 14,  # a module for each thing that a store does
    "core": 16,  # a module of rules for each thing that happens
    "testing/conformance": 19,  # a module for each promise
}
# Modules with fewer than 60 lines and one importer, each with its reason.
SMALL_MODULES = ROOT / "tests" / "small_modules.txt"
ENTRY_POINTS = {
    "sessionledger",
    "sessionledger.cli.__main__",
    "sessionledger.cli.main",
    "sessionledger.backend",
    "sessionledger.integrations.django.backchannel",
    "sessionledger.integrations.flask.backchannel",
    "sessionledger.integrations.django.sessions",
    *(
        f"sessionledger.integrations.{framework}{module}"
        for framework in ("django", "fastapi", "flask", "litestar", "starlette")
        for module in ("", ".devices")
    ),
    "sessionledger.server.app",
    "sessionledger.testing.conformance",
    *(f"sessionledger.cli.commands.{module}" for module, _ in COMMANDS.values()),
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


def imports_allowed() -> dict[str, set[str]]:
    """The table of ARCHITECTURE.md: what each part may import, itself included."""
    allowed = {}
    for row in re.findall(r"^\| (`.+`) \| (.+) \|$", ARCHITECTURE, re.MULTILINE):
        parts, imported = (
            {name.strip("`") for name in re.findall("`[a-z]+`", cell)} for cell in row
        )
        for part in parts:
            allowed[part] = imported | {part}
    return allowed


def test_imports_point_one_way() -> None:
    allowed = imports_allowed()
    for path in MODULES:
        part = part_of(name_of(path)) or "sessionledger"
        imported = {part_of(module) or "sessionledger" for module in facts_of(path).imports}
        assert imported <= allowed[part], f"{name_of(path)} imports {imported - allowed[part]}"


def test_nothing_is_allowed_that_nobody_imports() -> None:
    used: defaultdict[str, set[str]] = defaultdict(set)
    for path in MODULES:
        part = part_of(name_of(path)) or "sessionledger"
        used[part] |= {part_of(module) or "sessionledger" for module in facts_of(path).imports}
    assert {part: may - used[part] - {part} for part, may in imports_allowed().items()} == {
        part: set() for part in used
    }


def tree() -> list[str]:
    """The modules that the tree of ARCHITECTURE.md names, as paths."""
    drawn = ARCHITECTURE.partition("## The tree")[2].split("```")[1]
    folders: list[str] = []
    paths = []
    for line in drawn.splitlines()[2:]:
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        names = line.strip().partition(": ")[0].split(", ")
        if names[0].endswith("/"):
            folders = [*folders[:depth], names[0]]
        else:
            paths += ["".join(folders[:depth]) + name for name in names]
    return paths


def test_every_module_is_in_the_tree_once_and_nothing_else_is() -> None:
    modules = [path.relative_to(SOURCE) for path in MODULES if path.name != "__init__.py"]
    expected = Counter(str(module.with_suffix("")) for module in modules)
    drawn = Counter(tree())
    lacking, gone = [*(expected - drawn)], [*(drawn - expected)]
    assert (lacking, gone) == ([], []), "to be added to and removed from ARCHITECTURE.md"


def test_the_architecture_is_short() -> None:
    assert len(ARCHITECTURE.splitlines()) <= MAX_ARCHITECTURE_LINES


def test_modules_are_small() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_MODULE_LINES}


def test_folders_are_small() -> None:
    sizes = Counter(
        path.parent.relative_to(SOURCE).as_posix() for path in MODULES if path.stem != "__init__"
    )
    large = {folder: size for folder, size in sizes.items() if size > MAX_FOLDER_MODULES}
    assert large.keys() == LARGE_FOLDERS.keys()
    assert not {folder for folder, size in large.items() if size > LARGE_FOLDERS[folder]}


def test_a_name_occurs_once_in_a_part_but_for_the_same_role() -> None:
    repeated = defaultdict(set)
    seen = set()
    for path in MODULES:
        place = part_of(name_of(path)), path.stem
        if place in seen and path.stem != "__init__":
            repeated[place[0]].add(path.stem)
        seen.add(place)
    assert repeated == SAME_ROLE


def test_small_modules_with_one_importer_have_a_reason() -> None:
    importers = Counter(name for path in MODULES for name in facts_of(path).imports)
    small = {
        name_of(path)
        for path in MODULES
        if path.stem != "__init__"
        and importers[name_of(path)] == 1
        and len(path.read_text().splitlines()) < SMALL_MODULE_LINES
    }
    lines = [line for line in SMALL_MODULES.read_text().splitlines() if not line.startswith("#")]
    reasons = dict(line.split(": ") for line in lines)
    assert small == reasons.keys()


def lengthens(change: Change) -> bool:
    return len(change.added) > len(change.removed)


def test_the_list_of_small_modules_only_becomes_shorter() -> None:
    assert unexplained(log_of(SMALL_MODULES), lengthens) == []
    assert lengthens(Change("c1", [], ["a: b"]))
    assert not lengthens(Change("c1", ["b: c"], ["a: b"]))


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


DECISION_LINE = re.compile(r"^- \[(\d+)\]\(decisions/(.+)\): ", re.MULTILINE)
WITHOUT_PAGE = re.compile(r"(\d{4})(?: to (\d{4}))?")


def test_every_decision_is_in_the_index_under_its_number() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = sorted(page.name for page in (ROOT / "docs" / "decisions").iterdir())
    assert DECISION_LINE.findall(index) == [(name[:4], name) for name in pages]
    numbers = {int(name[:4]) for name in pages}
    told: set[int] = set()
    line = index.partition("These numbers have no page: ")[2].partition("\n")[0]
    for first, last in WITHOUT_PAGE.findall(line):
        told |= {*range(int(first), int(last or first) + 1)}
    assert told == {*range(1, max(numbers))} - numbers, "the line below the index of decisions"
