"""Every kind of finding that an examination of a ledger can answer, by its stable code.

docs/doctor.md says for each what it means and what to do. A log that can go wrong in ways of its
own adds a code here, a line there, and a test that provokes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

import msgspec

Severity: TypeAlias = Literal["problem", "warning", "note"]
"""A problem: answers may be wrong, or secrets exposed. A warning: no answer is wrong, and somebody
should look. A note: worth knowing, and nothing to do."""

SEVERITIES: dict[str, Severity] = {
    "open_to_others": "problem",
    "folder_open_to_others": "problem",
    "of_another_owner": "problem",
    "shared_with_group": "note",
    "not_writable": "warning",
    "sqlite_outdated": "warning",
    "database_damaged": "problem",
    "schema_incomplete": "problem",
    "not_prepared": "note",
    "schema_old": "note",
    "head_copy_stale": "problem",
    "log_cut_short": "problem",
    "checkpoint_wrong": "problem",
    "appended_by_others": "problem",
    "torn_tail": "warning",
    "wal_held": "warning",
    "cursor_damaged": "problem",
    "events_missing": "problem",
    "events_beyond_head": "problem",
    "strange_ids": "problem",
    "chain_broken": "problem",
    "unchained_events": "warning",
    "undecodable_event": "warning",
    "nameless_event": "warning",
    "unknown_kind": "note",
    "event_from_future": "warning",
    "clocks_disagree": "warning",
    "consumer_behind": "warning",
    "mark_unswept": "warning",
    "erasure_pending": "warning",
    "erasure_remains": "warning",
    "maintenance_failed": "warning",
    "maintenance_ran": "note",
    "rows_behind": "note",
    "row_differs": "problem",
    "row_missing": "problem",
    "row_surplus": "problem",
}

Examining: TypeAlias = Callable[[int, int], None]
"""Told now and then how many events were examined, and of about how many."""

MOST_SHOWN = 20
_ORDER = ("problem", "warning", "note")


class Finding(msgspec.Struct, frozen=True):
    """Something about a ledger that its owner should know. No secrets.

    code: which kind, stable. severity: `problem`, `warning` or `note`. subject: what it is about:
    a file, an event, a handle. problem: what is wrong with it. remedy: what to do.
    """

    code: str
    severity: Severity
    subject: str
    problem: str
    remedy: str


class Findings:
    """Findings as they are made: of each kind the first are kept, and the others counted."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._made: Counter[str] = Counter()
        self._remedies: dict[str, str] = {}

    def add(self, code: str, subject: str, problem: str, remedy: str) -> None:
        """One more; its code is one of `SEVERITIES`."""
        self._made[code] += 1
        self._remedies[code] = remedy
        if self._made[code] <= MOST_SHOWN:
            self._kept.append(Finding(code, SEVERITIES[code], subject, problem, remedy))

    def all(self) -> list[Finding]:
        """Those that were kept, and for each kind that had more, how many more."""
        return self._kept + [
            Finding(
                code,
                SEVERITIES[code],
                f"{made - MOST_SHOWN} more",
                f"there are {made} of this kind, of which the first {MOST_SHOWN} are listed",
                self._remedies[code],
            )
            for code, made in self._made.items()
            if made > MOST_SHOWN
        ]


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Problems, then warnings, then notes, each kind together, in the order they were made."""
    codes = list(SEVERITIES)
    return sorted(findings, key=lambda f: (_ORDER.index(f.severity), codes.index(f.code)))
