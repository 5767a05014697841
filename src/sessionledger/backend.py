"""What you write a log with: the contract, and the computing that all logs share.

`docs/writing-a-log.md` explains it step by step. What callers of a log need is in `sessionledger`.
"""

from sessionledger.findings import Finding, Findings
from sessionledger.logs.arguments import check_limit, check_name
from sessionledger.logs.base import (
    ALL_ROWS,
    OVER,
    Check,
    DocumentLog,
    KeyState,
    Log,
    Outcome,
    Progress,
    RemoteLog,
    View,
    key_state_of,
)
from sessionledger.logs.chain import EMPTY, Head, head_after
from sessionledger.logs.concurrency.forking import watch_forks
from sessionledger.logs.marks import Mark, matching
from sessionledger.logs.snapshot import Snapshot
from sessionledger.logs.units import (
    BatchState,
    Link,
    Plan,
    groups_of,
    keys_of,
    plan,
    refold,
    rules_of,
)
from sessionledger.logs.units import check as check_units

__all__ = [
    "ALL_ROWS",
    "EMPTY",
    "OVER",
    "BatchState",
    "Check",
    "DocumentLog",
    "Finding",
    "Findings",
    "Head",
    "KeyState",
    "Link",
    "Log",
    "Mark",
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
