"""Which tests a run takes: `--tier=fast`, `middle` or `all`.

- `fast` is for every change. It leaves out what is marked `middle` or `slow`, and tries fewer
  random examples. It runs each test on one log and in one colour, which the test's name decides: so
  the tests together use all of them. A class marked `every_log` runs on every log. Of a test that
  is marked `sampled` it runs one of all parametrizations: each of them takes long.
- `middle` runs what is marked `middle` too, and each test on every log and in every colour.
- `all` runs everything, with more random examples.

A test that the command line names by its id always runs.
"""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from platform import python_version
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

# How many examples a property is tried with, as a share of those that it asks for.
EFFORT = {"fast": 0.25, "middle": 1, "all": 3, "thorough": 30}
EXAMPLES = 60
LEFT_OUT = {"fast": ("middle", "slow"), "middle": ("slow",), "all": ()}
# The words of a test's id that only say which log it runs on, or in which colour.
ALTERNATIVES = {
    *("memory", "sqlite", "file", "postgresql"),
    *("sync", "async", "SessionStore", "AsyncSessionStore"),
    *("threads", "processes"),
}
# Neither timing nor the speed of this machine is ever a reason to fail.
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


def examples(usual: int) -> settings:
    """Settings for a property that needs another number of examples than most."""
    return settings(max_examples=max(5, round(usual * _effort())))


def is_thorough() -> bool:
    """Whether to try all that takes too long for a tier: `--hypothesis-profile=thorough`."""
    return _effort() >= EFFORT["thorough"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tiers")
    group.addoption("--tier", choices=LEFT_OUT, default="middle", help="which tests are run")
    group.addoption("--record", type=Path, help="a file that says when they ran, and how it ended")


def pytest_configure(config: pytest.Config) -> None:
    for name, share in EFFORT.items():
        settings.register_profile(name, max_examples=round(EXAMPLES * share), **_CALM)  # type: ignore[arg-type]
    settings.load_profile(config.getoption("--hypothesis-profile") or config.getoption("--tier"))


def _effort() -> float:
    return settings().max_examples / EXAMPLES


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tier = config.getoption("--tier")
    if any("::" in argument for argument in config.args):
        return
    kept = [item for item in items if not any(map(item.get_closest_marker, LEFT_OUT[tier]))]
    if tier == "fast":
        kept = one_of_each(kept)
    if len(kept) < len(items):
        taken = set(kept)
        config.hook.pytest_deselected(items=[item for item in items if item not in taken])
        items[:] = kept


def one_of_each(items: list[pytest.Item]) -> list[pytest.Item]:
    """Of items that differ only in what is sampled, one: the same one each time."""
    alike: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        alike[_without_alternatives(item)].append(item)
    chosen = {group[crc32(key.encode()) % len(group)] for key, group in alike.items()}
    return [item for item in items if item in chosen]


def _without_alternatives(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return item.nodeid
    if item.get_closest_marker("sampled"):
        return item.nodeid.removesuffix(f"[{callspec.id}]")
    if item.get_closest_marker("every_log"):
        return item.nodeid
    words = ["*" if word in ALTERNATIVES else word for word in callspec.id.split("-")]
    return f"{item.nodeid.removesuffix(f'[{callspec.id}]')}[{'-'.join(words)}]"


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    path = config.getoption("--record")
    if path is not None:
        path.write_text(json.dumps(_record(terminalreporter, config), indent=2) + "\n")


def _record(reporter: pytest.TerminalReporter, config: pytest.Config) -> dict[str, object]:
    counts = {
        outcome: len(reporter.stats.get(outcome, []))
        for outcome in ("passed", "failed", "error", "skipped", "deselected")
    }
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git(config.rootpath, "rev-parse", "HEAD"),
        "changed": _git(config.rootpath, "status", "--porcelain", "--untracked-files=no") != "",
        "tier": config.getoption("--tier"),
        "python": python_version(),
        **counts,
    }


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
