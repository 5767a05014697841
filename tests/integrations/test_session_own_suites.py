"""What Flask, Starlette, Flask-Login and Flask-Session try sessions with passes (`make .peers`).

Flask-Session since 0.6, starsessions and Litestar leave their tests out of their source
distributions. What of Starlette's runs under trio is left out: stores need asyncio.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
PEERS = ROOT / ".peers"


class Suite(NamedTuple):
    """paths: of its tests. passed: at least so many. failed: those that do not, each with why."""

    source: str
    paths: str
    passed: int
    failed: dict[str, str]


SUITES = [
    Suite(
        "flask-3.1.3",
        "tests",
        480,
        {
            "test_missing_session": "no secret key is needed",
            "test_session_transactions_no_null_sessions": "no secret key is needed",
            "test_session_secret_key_fallbacks": "no secret key is needed",
            "test_session_refresh_vary": "a request that leaves the session alone sends no cookie",
            "test_bad_environ_raises_bad_request": "fails with Flask's own session too, here",
        },
    ),
    Suite("Flask-Login-0.6.3", "tests", 114, {}),
    Suite("Flask-Session-0.5.0", "test_session.py", 7, {"test_null_session": "it has a back end"}),
    Suite(
        "starlette-1.10.0",
        "tests/middleware/test_session.py",
        14,
        {"test_session_tracks_modification": "`pop` of a name that is not there is a look"},
    ),
]


def published() -> list[Suite]:
    """Those whose source distribution is there."""
    return [suite for suite in SUITES if (PEERS / suite.source).is_dir()]


@pytest.mark.slow
@pytest.mark.parametrize("suite", published(), ids=lambda suite: suite.source)
def test_its_tests_pass(suite: Suite, tmp_path: Path) -> None:
    source, told = PEERS / suite.source, tmp_path / "told.json"
    path = [source / "src", source, PEERS / "lib", ROOT / "tests" / "integrations" / "apps"]
    command = [sys.executable, "-m", "pytest", "-p", "own_suites", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-q", "-k", "not trio", suite.paths],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path)), "TOLD": str(told)},
        cwd=source,
        capture_output=True,
        text=True,
        timeout=300,
    )
    outcomes: dict[str, str] = json.loads(told.read_text())
    failed = {test.rpartition("::")[2] for test, outcome in outcomes.items() if outcome == "failed"}
    assert failed == suite.failed.keys(), done.stdout
    assert list(outcomes.values()).count("passed") >= suite.passed
