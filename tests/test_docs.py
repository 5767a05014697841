"""The documentation is true: its code runs, its links lead somewhere, its names are ours."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import sessionledger
from sessionledger import Policy, SessionLedgerError, backend, integrations, testing
from sessionledger.testing import conformance
from tests import postgres_server

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

# Written by `make bench`, on whatever machine was last measured.
GENERATED = ROOT / "docs" / "benchmarks" / "results.json"

FENCE = re.compile(r"^```(.*)$")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
MODULE = re.compile(r"`[\w/.]*?(\w+\.py)`")
TERM = re.compile(r"\*\*(.+?)\*\*")
ERROR_LINE = re.compile(r"^\| `(\w+)` \| `(\w+)` \|", re.MULTILINE)
ANYTHING = "…"


def blocks(page: Path) -> Iterator[tuple[str, int, list[str]]]:
    """The fenced blocks of a page: what the fence says, the line it begins after, its lines."""
    said, start, inside = "", 0, False
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        fence = FENCE.match(line)
        if fence and not inside:
            said, start, inside = fence[1], number, True
        elif fence:
            yield said, start, lines[start : number - 1]
            inside = False
    assert not inside, f"{page.name} leaves a block open"


def program_of(page: Path) -> str:
    """The Python of a page, each line where it stands on the page, so that tracebacks tell it."""
    program: list[str] = []
    for said, start, lines in blocks(page):
        if said == "python":
            program += [""] * (start - len(program)) + lines
    return "\n".join(program)


def prose_of(page: Path) -> str:
    """The page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The fragments by which the headings of a page are linked."""
    titles = HEADING.findall(prose_of(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it in a folder, with the environment's commands found first and no ledger chosen."""
    kept = {name: value for name, value in os.environ.items() if "SESSIONLEDGER" not in name}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        command, cwd=folder, env=kept | {"PATH": path}, capture_output=True, text=True, timeout=60
    )


def transcript(lines: list[str]) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with what it is said to print."""
    told: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            told.append((line[2:], []))
        elif line.startswith("> "):
            command, printed = told.pop()
            told.append((f"{command}\n{line[2:]}", printed))
        else:
            told[-1][1].append(line)
    return told


def is_like(line: str, expected: str) -> bool:
    """Whether a line is the expected one, in which `…` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in expected.split(ANYTHING))
    return re.fullmatch(pattern, line) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_python_of_the_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.stem == "postgresql":
        postgres_server.name_a_database(monkeypatch)
    program = tmp_path / f"page_{page.stem}.py"  # a page may be called like what it imports
    program.write_text(program_of(page))
    folder = tmp_path / "work"
    folder.mkdir()
    ran = run([sys.executable, "-W", "error", str(program)], folder)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_its_language(page: Path) -> None:
    told = {said for said, _, _ in blocks(page)}
    assert told <= {
        "python",
        "console",
        "mermaid",
        "text",
        "json",
        "toml",
        "sql",
        "yaml",
        "nginx",
        "lua",
    }


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "backup.md"], ids=lambda page: page.stem)
def test_the_console_of_the_page_answers_as_shown(page: Path, tmp_path: Path) -> None:
    for said, _, lines in blocks(page):
        if said != "console" or not any("sessionledger " in line for line in lines):
            continue
        told = transcript(lines)
        script = "exec 2>&1\nset -e\n" + "\n".join(f"{c}\necho '--end--'" for c, _ in told)
        ran = run(["bash", "-c", script], tmp_path)
        assert ran.returncode == 0, ran.stdout
        for (command, expected), answer in zip(told, ran.stdout.split("--end--\n"), strict=False):
            printed = answer.splitlines()
            assert len(printed) == len(expected), (command, printed)
            assert all(map(is_like, printed, expected)), (command, printed)


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    for link in LINK.findall(prose_of(page)):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() or target == GENERATED, link
        if fragment:
            assert fragment in anchors(target), link


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_that_the_page_names_exists(page: Path) -> None:
    folders = (ROOT / name for name in ("src", "tests", "benchmarks", "examples"))
    modules = {path.name for folder in folders for path in folder.rglob("*.py")}
    assert {name for name in MODULE.findall(prose_of(page)) if name not in modules} == set()


def test_the_glossary_defines_each_term_once() -> None:
    terms = [term.lower() for term in TERM.findall((ROOT / "docs" / "glossary.md").read_text())]
    assert [term for term, times in Counter(terms).items() if times > 1] == []
    assert all("glossary.md" in page.read_text() for page in (README, ROOT / "docs" / "index.md"))


def test_every_public_name_is_explained() -> None:
    told = "".join(page.read_text() for page in LINKED if page.name != "api.md")
    ours = (sessionledger, backend, integrations, testing, conformance)
    names = [name for module in ours for name in module.__all__]
    missing = [name for name in names if not re.search(rf"\b{name}\b", told)]
    assert not missing


def family(error: type[SessionLedgerError]) -> Iterator[type[SessionLedgerError]]:
    """An error and all that are its kind."""
    yield error
    for child in error.__subclasses__():
        yield from family(child)


def test_the_table_of_errors_is_complete() -> None:
    page = (ROOT / "docs" / "sessions.md").read_text()
    told = dict(ERROR_LINE.findall(page))
    ours = {e for e in family(SessionLedgerError) if e.__module__ == "sessionledger.errors"}
    assert told == {error.__name__: error.code for error in ours}


def test_every_field_of_the_policy_is_explained() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    missing = [name for name in Policy.__struct_fields__ if f"`{name}`" not in page]
    assert not missing
