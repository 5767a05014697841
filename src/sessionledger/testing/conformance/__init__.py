"""What every log has to do, as tests that any log runs.

    from sessionledger.testing import Harness, conformance

    class TestMyLog(conformance.LogConformance):
        harness = Harness(open=my_open, persists=True)

`LogConformance` is all of it; the classes that it is made of are a theme each. A test is shown
as skipped where the harness does not declare what it is about.
"""

import pkgutil

import pytest

# Before they are imported: a failed assertion then shows what it compared.
pytest.register_assert_rewrite(
    *(f"{__name__}.{one.name}" for one in pkgutil.iter_modules(__path__))
)

from sessionledger.testing.conformance.bases import Conformance  # noqa: E402  see above
from sessionledger.testing.conformance.compaction import CompactionConformance  # noqa: E402
from sessionledger.testing.conformance.cursors import CursorConformance  # noqa: E402
from sessionledger.testing.conformance.documents import DocumentConformance  # noqa: E402
from sessionledger.testing.conformance.events import EventConformance  # noqa: E402
from sessionledger.testing.conformance.examination import ExaminationConformance  # noqa: E402
from sessionledger.testing.conformance.foreign import ForeignWriterConformance  # noqa: E402
from sessionledger.testing.conformance.forks import ForkConformance  # noqa: E402
from sessionledger.testing.conformance.ids import IdConformance  # noqa: E402
from sessionledger.testing.conformance.listings import ListingConformance  # noqa: E402
from sessionledger.testing.conformance.loops import LoopConformance  # noqa: E402
from sessionledger.testing.conformance.marks import MarkConformance  # noqa: E402
from sessionledger.testing.conformance.names import NameConformance  # noqa: E402
from sessionledger.testing.conformance.processes import ProcessConformance  # noqa: E402
from sessionledger.testing.conformance.readers import ReaderConformance  # noqa: E402
from sessionledger.testing.conformance.rows import RowConformance  # noqa: E402
from sessionledger.testing.conformance.rules import RuleConformance  # noqa: E402
from sessionledger.testing.conformance.stores import StoreConformance  # noqa: E402
from sessionledger.testing.conformance.units import UnitConformance  # noqa: E402


class LogConformance(
    NameConformance,
    IdConformance,
    EventConformance,
    CursorConformance,
    DocumentConformance,
    UnitConformance,
    RuleConformance,
    MarkConformance,
    RowConformance,
    ListingConformance,
    ReaderConformance,
    ForeignWriterConformance,
    ProcessConformance,
    ForkConformance,
    LoopConformance,
    ExaminationConformance,
    CompactionConformance,
    StoreConformance,
):
    """All that a log has to do."""


__all__ = [
    "CompactionConformance",
    "Conformance",
    "CursorConformance",
    "DocumentConformance",
    "EventConformance",
    "ExaminationConformance",
    "ForeignWriterConformance",
    "ForkConformance",
    "IdConformance",
    "ListingConformance",
    "LogConformance",
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
