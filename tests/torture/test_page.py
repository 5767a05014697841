"""The page shows the counts of the recorded run."""

from __future__ import annotations

import json

import pytest

from torture.report import BEGIN, END, PAGE, RECORD, table
from torture.scenarios import SCENARIOS

TEXT = PAGE.read_text()


def test_the_table_is_the_recorded_run() -> None:
    shown = TEXT.partition(BEGIN)[2].partition(END)[0]
    assert shown == table(json.loads(RECORD.read_text()))


def test_the_recorded_run_found_no_failure() -> None:
    assert json.loads(RECORD.read_text())["failures"] == 0


@pytest.mark.parametrize("name", sorted({name.partition(".")[0] for name in SCENARIOS}))
def test_the_page_says_what_the_scenario_does(name: str) -> None:
    assert f"\n| `{name}` | " in TEXT
