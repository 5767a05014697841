"""The list of findings: kept short when there are many, and told on the page as it is."""

from __future__ import annotations

import re
from pathlib import Path

from sessionledger.findings import MOST_SHOWN, SEVERITIES, Findings, worst_first

ROOT = Path(__file__).parent.parent
LINE = re.compile(r"^\| `(\w+)` \| (\w+) \| \S.* \| \S.* \|$", re.MULTILINE)


def test_the_page_has_them_all_and_no_others() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    assert dict(LINE.findall(page)) == SEVERITIES


def test_each_is_made_somewhere_and_provoked_by_a_test() -> None:
    sources = [
        path.read_text() for path in (ROOT / "src").rglob("*.py") if "findings" not in str(path)
    ]
    tests = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    for texts in (sources, tests):
        assert not [code for code in SEVERITIES if not any(f'"{code}"' in text for text in texts)]


def test_of_each_kind_the_first_are_kept_and_the_others_counted() -> None:
    found = Findings()
    for number in range(1000):
        found.add("row_missing", f"row {number}", "is not there", "rebuild")
    found.add("chain_broken", "event 1", "is changed", "restore")
    *kept, other, more = found.all()
    assert [finding.subject for finding in kept] == [f"row {n}" for n in range(MOST_SHOWN)]
    assert (other.code, other.subject) == ("chain_broken", "event 1")
    assert (more.code, more.severity, more.remedy) == ("row_missing", "problem", "rebuild")
    assert more.subject == f"{1000 - MOST_SHOWN} more"


def test_the_worst_comes_first() -> None:
    found = Findings()
    codes = ["unknown_kind", "chain_broken", "not_writable", "open_to_others", "chain_broken"]
    for number, code in enumerate(codes):
        found.add(code, str(number), "?", "?")
    assert [finding.subject for finding in worst_first(found.all())] == ["3", "1", "4", "2", "0"]
