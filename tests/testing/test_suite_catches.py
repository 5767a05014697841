"""The suite can fail: it catches logs that are broken in one way each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sessionledger.testing import Harness
from sessionledger.testing.conformance import LogConformance
from tests.testing import broken

ROOT = Path(__file__).parents[2]

CAUGHT = {
    "TestIgnoresReads": ["test_a_unit_may_rest_on_a_key_that_it_leaves_alone"],
    "TestIgnoresVersions": ["test_one_of_many_racing_creates_wins", "test_a_token_is_given_once"],
    "TestChecksBeforeItWrites": [
        "test_one_of_many_racing_creates_wins",
        "test_one_of_many_racing_changes_wins",
    ],
    # Which of two ends comes last is chance; how many creates a limit lets through is not.
    "TestDecidesBeforeItWrites": ["test_a_rule_holds_a_limit_against_racing_creates"],
    "TestWritesHalfUnits": ["test_no_reader_sees_half_of_a_unit"],
    "TestAnswersStaleRows": [
        "test_rows_are_what_the_events_fold_to[0]",
        "test_no_row_is_older_than_what_was_acknowledged",
    ],
    "TestPublishesOutOfOrder": ["test_a_tailing_reader_misses_nothing"],
    "TestMovesCursorsBack": ["test_a_cursor_never_goes_back"],
    "TestShowsWhatHappensMeanwhile": ["test_a_view_stays_what_it_is"],
    "TestCopiesOnFork": ["test_a_child_of_a_log_that_can_t_be_forked_is_told"],
    "TestLosesCancelledAppends": ["test_a_cancelled_append_completes"],
    "TestBelongsToALoop": ["test_several_loops_share_one_log"],
    "TestForgetsWhatWasRemoved": [
        "test_ids_are_not_reused_after_everything_was_removed",
        "test_keys_are_not_reused_after_everything_was_removed",
    ],
    "TestRemembersRows": ["test_what_a_foreign_writer_appended_is_folded_before_any_answer[rows]"],
    "TestReadsWhenItIsOpened": ["test_another_process_s_commit_is_in_the_first_answer"],
    "TestStarvesOne": ["test_of_several_writing_processes_none_is_starved"],
}
PAIRS = [(log, test) for log, tests in CAUGHT.items() for test in tests]


@pytest.mark.middle
class TestKept(LogConformance):
    """What some of the broken logs rest on is sound itself."""

    harness = Harness(open=broken.open_kept, persists=True, empty=broken.empty_kept)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """What each of the tests said of its broken log: they run in a pytest of their own."""
    report = tmp_path_factory.mktemp("broken") / "report.xml"
    nodes = [f"tests/testing/broken.py::{log}::{test}" for log, test in PAIRS]
    pytest_alone = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short"]
    command = [*pytest_alone, f"--junitxml={report}", *nodes]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED, ran.stdout + ran.stderr
    told = {}
    for case in ElementTree.parse(report).iter("testcase"):
        failure = case.find("failure")
        if failure is not None:
            log = case.attrib["classname"].rpartition(".")[2]
            told[log, case.attrib["name"]] = failure.attrib["message"]
    return told


@pytest.mark.parametrize(("log", "test"), PAIRS, ids=lambda said: said)
def test_a_broken_log_is_caught(failed: dict[tuple[str, str], str], log: str, test: str) -> None:
    """By the test that is about what it does wrong."""
    assert (log, test) in failed
