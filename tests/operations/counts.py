"""What one call costs, in counts that no machine changes: `make operations` writes them down.

Statements, round trips, flushes, bytes, pages of the WAL and calls of Python functions are counted
for each log and each call. They are kept in docs/benchmarks/operations.md, and a test compares them
with the code: so a slower path shows in review.
"""

from __future__ import annotations

import platform
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple, TypeAlias

from sessionledger import SessionStore, open_log
from sessionledger.testing.clock import Clock
from tests.operations.meters import COUNTED, METERS, Meter, Place

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "operations.md"
SESSIONS, WARM, TIMES = 30, 5, 10
MINUTE = timedelta(minutes=1)
COLUMNS = (*COUNTED, "functions")
TITLES = ("statements", "round trips", "flushes", "bytes", "WAL pages", "Python calls")

Counts: TypeAlias = dict[str, float]
"""By column; what a log does not have is left out."""
Table: TypeAlias = dict[tuple[str, str], Counts]
"""By log and call."""


class Ledger(NamedTuple):
    """A store at a clock, with live sessions; and another one on the same ledger, if it has any."""

    store: SessionStore
    other: SessionStore
    clock: Clock
    tokens: list[str]


class Case(NamedTuple):
    """A call for the nth time, and what has to happen before it, which is not counted."""

    call: Callable[[Ledger, int], Callable[[], object]]
    before: Callable[[Ledger, int], object] = lambda *_: None
    needs_another: bool = False


def token(number: int) -> str:
    return f"a token that is long enough, {number:05d}"


def _create(on: Ledger, n: int) -> Callable[[], object]:
    given = {"ttl": timedelta(hours=12), "attributes": {"role": "operator"}}
    return partial(on.store.create, "alice", token=token(SESSIONS + n), **given)  # type: ignore[arg-type]


def _find(on: Ledger, _: int) -> Callable[[], object]:
    session = on.store.get(on.tokens[0])
    assert session is not None
    return partial(on.store.find, handle=session.handle)


def _revoke(on: Ledger, n: int) -> Callable[[], object]:
    session = on.store.get(on.tokens[-1 - n])
    assert session is not None
    return partial(on.store.revoke, handle=session.handle)


def _create_ten(on: Ledger, n: int) -> None:
    for _ in range(10):
        on.store.create(f"leaver {n}")


CASES = {
    "get": Case(lambda on, _: partial(on.store.get, on.tokens[0])),
    "get, after a commit elsewhere": Case(
        lambda on, _: partial(on.store.get, on.tokens[0]),
        before=lambda on, _: on.other.touch(on.tokens[1]),
        needs_another=True,
    ),
    "find": Case(_find),
    "authenticate": Case(lambda on, _: partial(on.store.authenticate, on.tokens[0])),
    "authenticate, a touch is due": Case(
        lambda on, _: partial(on.store.authenticate, on.tokens[0]),
        before=lambda on, _: on.clock.advance(10 * MINUTE),
    ),
    "create": Case(_create),
    "touch": Case(lambda on, n: partial(on.store.touch, on.tokens[n])),
    "revoke": Case(_revoke),
    "revoke_all of ten": Case(
        lambda on, n: partial(on.store.revoke_all, f"leaver {n}"), before=_create_ten
    ),
}


def counts(server: str, logs: Collection[str] = METERS) -> Table:
    """What each call costs on each log; `server` is a PostgreSQL that has nothing else to do."""
    table: Table = {}
    with _without_telemetry():
        for log, (name, case) in product(logs, CASES.items()):
            meter = METERS[log]
            if log != "memory" or not case.needs_another:
                table[log, name] = _counted(meter, case, server) | _functions(meter, case, server)
    return table


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Let stores open as they do where OpenTelemetry is not installed."""
    found = sys.modules.get("opentelemetry")
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["opentelemetry"]
        if found is not None:
            sys.modules["opentelemetry"] = found


def _counted(meter: type[Meter], case: Case, server: str) -> Counts:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        metering = meter(Place(folder, server), stack)
        on = _ledger(stack, metering, counted=True)
        totals: Counts = {}
        for call in _calls(on, case):
            before = metering.read()
            call()
            for column, total in metering.read().items():
                totals[column] = totals.get(column, 0) + total - before[column]
        return {column: round(total / TIMES, 1) for column, total in totals.items()}


def _functions(meter: type[Meter], case: Case, server: str) -> Counts:
    """The least of several calls: a timer or a lock may have one of them do more."""
    entered: list[int] = []

    def enter(_frame: object, event: str, _argument: object) -> None:
        entered[-1] += event == "call"

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        on = _ledger(stack, meter(Place(folder, server), stack), counted=False)
        for call in _calls(on, case):
            entered.append(0)
            sys.setprofile(enter)
            try:
                call()
            finally:
                sys.setprofile(None)
    return {"functions": min(entered)}


def _ledger(stack: ExitStack, meter: Meter, *, counted: bool) -> Ledger:
    clock = Clock()
    log = meter.open() if counted else open_log(meter.url)
    store = stack.enter_context(SessionStore(log, clock=clock))
    stack.callback(log.close)
    other = store if meter.url == "memory:" else SessionStore.open(meter.url, clock=clock)
    stack.callback(other.close)
    tokens = [token(n) for n in range(SESSIONS)]
    for number, one in enumerate(tokens):
        store.create(f"user {number}", token=one, ttl=timedelta(hours=12))
    clock.advance(MINUTE)
    return Ledger(store, other, clock, tokens)


def _calls(on: Ledger, case: Case) -> Iterator[Callable[[], object]]:
    """The calls to count, after a few that warm everything up."""
    for n in range(WARM + TIMES):
        case.before(on, n)
        call = case.call(on, n)
        if n < WARM:
            call()
        else:
            yield call


def differences(before: Table, now: Table) -> list[str]:
    """A line for each count that is not as it was written down."""
    found = [f"{', '.join(key)}: only on one side" for key in before.keys() ^ now.keys()]
    for key in sorted(before.keys() & now.keys()):
        for column, title in zip(COLUMNS, TITLES, strict=True):
            was, is_now = before[key].get(column), now[key].get(column)
            if not _is_like(key[0], column, was, is_now):
                found.append(f"{', '.join(key)}: {was} {title} before, {is_now} now")
    return found


def merged(before: Table, now: Table) -> Table:
    """The table of now, with the former count wherever the two are alike."""
    return {
        key: counts | _alike(key[0], before.get(key, {}), counts) for key, counts in now.items()
    }


def _alike(log: str, before: Counts, now: Counts) -> Counts:
    pairs = ((column, before.get(column), count) for column, count in now.items())
    return {
        column: was for column, was, is_now in pairs if was and _is_like(log, column, was, is_now)
    }


def _is_like(log: str, column: str, before: float | None, now: float | None) -> bool:
    """Whether the two are the same, as far as it can be told on any machine."""
    if before is None or now is None:
        return before is now
    if column == "functions":
        # Python 3.12 calls no function for a comprehension.
        return abs(now - before) <= before * (0.03 if sys.version_info[:2] == (3, 11) else 0.25)
    if (log, column) == ("postgresql", "written"):
        return abs(now - before) <= before * 0.1 + 50  # the server adds something at times
    return now == before


def page_of(table: Table) -> str:
    """The page with the table."""
    rows = [
        " | ".join([log, call, *(_text(counts.get(column)) for column in COLUMNS)])
        for (log, call), counts in table.items()
    ]
    head = " | ".join(["log", "call", *TITLES])
    rule = " | ".join(["---", "---", *["---:"] * len(TITLES)])
    python = ".".join(platform.python_version_tuple()[:2])
    return _PAGE.format(python=python, table="\n".join(f"| {row} |" for row in [head, rule, *rows]))


_PAGE = """# Operation counts

What one call costs, counted with Python {python} by `make operations`. The test
`tests/operations` fails if a count changes; then say why, and write the page again.

- Statements are those that SQLite or PostgreSQL is asked to run, without triggers.
- Bytes and flushes are what reaches the file system. For PostgreSQL they are those of its WAL.
- Python calls are the functions that the calling thread enters.

{table}
"""


def _text(count: float | None) -> str:
    return "-" if count is None else f"{count:g}"


def pinned() -> Table:
    """The table that is written down."""
    table: Table = {}
    for line in re.findall(r"^\| (.*) \|$", PAGE.read_text(), re.MULTILINE)[2:]:
        log, call, *told = line.split(" | ")
        pairs = zip(COLUMNS, told, strict=True)
        table[log, call] = {column: float(text) for column, text in pairs if text != "-"}
    return table
