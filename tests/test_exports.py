"""The public face: what is exported, that it is explained, and that errors keep their codes."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys

import pytest

import sessionledger
from sessionledger import backend, errors, testing
from sessionledger.testing import conformance
from tests.api_reference import MODULES, PAGE, members_of, page, summary_of

NAMES = [
    "ANONYMOUS",
    "NEVER",
    "Activity",
    "ActivityInterval",
    "Ancestor",
    "Appended",
    "AsyncKeyValueStore",
    "AsyncSessionStore",
    "BackedUp",
    "CaughtUp",
    "Change",
    "ClockJumped",
    "Compacted",
    "Conflict",
    "Copied",
    "CopiedForReference",
    "CorruptLog",
    "Counts",
    "Description",
    "DocumentLog",
    "Draft",
    "DuplicateSession",
    "Erasure",
    "Finding",
    "Fold",
    "Handle",
    "HistoryCut",
    "HistoryEntry",
    "HistoryPage",
    "InvalidEvent",
    "InvalidPolicy",
    "InvalidSession",
    "InvalidURL",
    "IssuedSession",
    "KeyValueStore",
    "LastRun",
    "LedgerHead",
    "LedgerMoved",
    "LedgerRestored",
    "LedgerURL",
    "Log",
    "LogError",
    "LogEvent",
    "LogTimeout",
    "LogUnavailable",
    "Maintained",
    "MaintenanceRunning",
    "Mention",
    "NoLedger",
    "NotALedger",
    "Page",
    "Policy",
    "Put",
    "ReauthenticationRequired",
    "Restored",
    "RotationLimitReached",
    "Row",
    "RowFilter",
    "Rule",
    "Session",
    "SessionLedgerError",
    "SessionLimitReached",
    "SessionStore",
    "Stats",
    "StoreClosed",
    "StoredEvent",
    "Unit",
    "UnsupportedRuntime",
    "UnsupportedSchema",
    "Verification",
    "VersionConflict",
    "WriteContention",
    "copy",
    "copy_for_reference",
    "diagnose",
    "open_log",
    "open_snapshot",
    "parse_url",
    "restore",
    "schema_sql",
]

FOR_WHO_WRITES_A_LOG = [
    "ALL_ROWS",
    "BatchState",
    "EMPTY",
    "Check",
    "DocumentLog",
    "Finding",
    "Findings",
    "Head",
    "KeyState",
    "Link",
    "Log",
    "Mark",
    "OVER",
    "Outcome",
    "Plan",
    "Progress",
    "RemoteLog",
    "Snapshot",
    "View",
    "check_limit",
    "check_name",
    "check_units",
    "groups_of",
    "head_after",
    "key_state_of",
    "keys_of",
    "matching",
    "plan",
    "refold",
    "rules_of",
    "watch_forks",
]
FOR_TESTS = ["Clock", "Harness"]
THEMES = [
    "CompactionConformance",
    "CursorConformance",
    "DocumentConformance",
    "EventConformance",
    "ExaminationConformance",
    "ForeignWriterConformance",
    "ForkConformance",
    "IdConformance",
    "ListingConformance",
    "LoopConformance",
    "MarkConformance",
    "NameConformance",
    "ProcessConformance",
    "ReaderConformance",
    "RowConformance",
    "RuleConformance",
    "StoreConformance",
    "UnitConformance",
]

CODES = {
    "SessionLedgerError": "session_ledger_error",
    "InvalidSession": "invalid_session",
    "InvalidEvent": "invalid_event",
    "InvalidPolicy": "invalid_policy",
    "InvalidURL": "invalid_url",
    "DuplicateSession": "duplicate_session",
    "SessionLimitReached": "session_limit_reached",
    "RotationLimitReached": "rotation_limit_reached",
    "VersionConflict": "version_conflict",
    "ReauthenticationRequired": "reauthentication_required",
    "ClockJumped": "clock_jumped",
    "WriteContention": "write_contention",
    "StoreClosed": "store_closed",
    "UnsupportedRuntime": "unsupported_runtime",
    "HistoryCut": "history_cut",
    "LedgerRestored": "ledger_restored",
    "LogError": "log_error",
    "LogTimeout": "log_timeout",
    "LogUnavailable": "log_unavailable",
    "NoLedger": "no_ledger",
    "MaintenanceRunning": "maintenance_running",
    "LedgerMoved": "ledger_moved",
    "NotALedger": "not_a_ledger",
    "UnsupportedSchema": "unsupported_schema",
    "CorruptLog": "corrupt_log",
}


def test_the_public_names_are_these() -> None:
    assert sorted(NAMES) == sorted(sessionledger.__all__)
    assert all(hasattr(sessionledger, name) for name in NAMES)


def test_names_are_imported_when_they_are_first_used() -> None:
    script = """
import sys, sessionledger
assert {name for name in sys.modules if name.startswith("sessionledger.")} == set()
assert set(sessionledger.__all__) <= set(dir(sessionledger))
assert sessionledger.Policy is sessionledger.Policy
assert "sessionledger.store" not in sys.modules
try:
    sessionledger.Session_
except AttributeError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "module 'sessionledger' has no attribute 'Session_'\n"


def test_a_type_checker_finds_names_where_python_does() -> None:
    """The imports that only a type checker reads, and the table that is read at run time."""
    for node in ast.walk(ast.parse(inspect.getsource(sessionledger))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sessionledger."):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert getattr(module, alias.name) is getattr(sessionledger, alias.name)


def test_the_names_for_who_writes_a_log_are_these() -> None:
    assert sorted(FOR_WHO_WRITES_A_LOG) == sorted(backend.__all__)
    assert sorted(FOR_TESTS) == sorted(testing.__all__)
    assert sorted([*THEMES, "Conformance", "LogConformance"]) == sorted(conformance.__all__)


def test_the_whole_suite_is_made_of_every_theme() -> None:
    themes = {base.__name__ for base in conformance.LogConformance.__bases__}
    assert themes == set(THEMES)


def test_the_clock_needs_no_test_framework() -> None:
    script = "import sys, sessionledger.testing.clock\n"
    script += "print({'pytest', 'hypothesis'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_codes_are_stable() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    found = {
        error.__name__: error.code
        for error in classes
        if issubclass(error, errors.SessionLedgerError)
    }
    assert found == CODES


def test_the_mistakes_of_callers_are_value_errors() -> None:
    mistakes = {name for name in CODES if issubclass(getattr(errors, name), ValueError)}
    assert mistakes == {"InvalidSession", "InvalidEvent", "InvalidPolicy", "InvalidURL"}


def test_every_error_stands_in_the_tree_that_is_drawn() -> None:
    assert all(name in (errors.__doc__ or "") for name in CODES)


def test_the_reference_is_what_the_docstrings_say() -> None:
    assert PAGE.read_text() == page(), "`make api` writes docs/api.md"


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert [public for public in module.__all__ if not summary_of(module, public)] == []


@pytest.mark.parametrize("name", MODULES)
def test_every_public_method_says_what_it_does(name: str) -> None:
    """By its docstring, or that of its class."""
    module = importlib.import_module(name)
    for public in module.__all__:
        value = getattr(module, public)
        silent = [
            member
            for member, _, summary in members_of(value)
            if not summary and not re.search(rf"\b{member}\b", inspect.getdoc(value) or "")
        ]
        assert silent == [], public
