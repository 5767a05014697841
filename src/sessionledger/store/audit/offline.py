"""A diagnosis of a ledger that nobody opens for it."""

from __future__ import annotations

from time import time_ns

from sessionledger.findings import Examining, Finding, worst_first
from sessionledger.logs.url import examine_log
from sessionledger.secrecy import without_locals
from sessionledger.store.audit.diagnosis import session_check
from sessionledger.store.engine import SESSIONS_TOPIC


@without_locals
def diagnose(
    url: str, *, topic: str = SESSIONS_TOPIC, progress: Examining | None = None
) -> list[Finding]:
    """What is wrong with the ledger at an address, the worst first; nothing when it is well.

    Changes nothing: it finds what an opening would mend, and works on a ledger that can't be
    written. Raises `InvalidURL`, `LogUnavailable`, `NotALedger` or `UnsupportedSchema` where
    nothing can be told. `progress` is called now and then with how many events
    were examined, and of about how many.
    """
    check = session_check(topic, time_ns() // 1_000_000, progress)
    return worst_first(examine_log(url, topic, check))
