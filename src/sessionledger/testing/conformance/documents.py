"""Documents: replaced by compare-and-set, durable, and the same for every process."""

from __future__ import annotations

from functools import partial
from typing import cast

import pytest

from sessionledger.errors import InvalidEvent
from sessionledger.logs.base import DocumentLog, Log
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import Ledger, concurrently
from sessionledger.testing.other_process import Stopped

NAME = "settings"


class DocumentConformance(Conformance):
    """What a log keeps beside its topics."""

    def test_a_log_says_whether_it_keeps_documents(self, ledger: Ledger) -> None:
        assert isinstance(ledger.log, DocumentLog) == ledger.harness.documents

    def test_a_document_is_replaced_only_if_it_is_as_expected(self, documented: Ledger) -> None:
        log = _documents(documented.log)
        assert log.document(NAME) == b""
        assert not log.replace_document(NAME, b"a", b"b")
        assert log.document(NAME) == b""
        assert log.replace_document(NAME, b"", b"a")
        assert not log.replace_document(NAME, b"", b"b")
        assert log.document(NAME) == b"a"
        assert log.replace_document(NAME, b"a", b"\0b")
        assert log.document(NAME) == b"\0b"
        assert log.document("other") == b""

    def test_a_replacement_may_be_repeated(self, documented: Ledger) -> None:
        log = _documents(documented.log)
        for before, after in ((b"", b"a"), (b"a", b""), (b"", b"b"), (b"b", b"c")):
            assert log.replace_document(NAME, before, after)
            assert log.replace_document(NAME, before, after)
            assert log.document(NAME) == after

    def test_racing_replacements_are_all_kept(self, documented: Ledger) -> None:
        logs = [documented.open(fold=False) for _ in range(2)]

        def add(log: DocumentLog, one: bytes) -> None:
            before = log.document(NAME)
            while not log.replace_document(NAME, before, before + one):
                before = log.document(NAME)

        jobs = [(logs[number % 2], b"%c" % (97 + number)) for number in range(6)]
        concurrently(*(partial(add, _documents(log), one) for log, one in jobs))
        assert sorted(_documents(documented.log).document(NAME)) == list(b"abcdef")

    def test_a_document_is_seen_by_other_processes_at_once(self, documented: Ledger) -> None:
        log, child = _documents(documented.log), documented.child()
        assert log.replace_document(NAME, b"", b"a")
        assert child.do(_replace, NAME, b"a", b"b")
        assert log.document(NAME) == b"b"

    def test_a_document_survives_reopening_and_is_no_topic(self, documented: Ledger) -> None:
        _documents(documented.log).replace_document(NAME, b"", b"a")
        log = documented.reopen()
        assert _documents(log).document(NAME) == b"a"
        assert log.topics() == []

    def test_a_document_has_the_name_of_a_topic(self, documented: Ledger) -> None:
        log = _documents(documented.log)
        with pytest.raises(InvalidEvent, match="document"):
            log.document("a b")
        with pytest.raises(InvalidEvent, match="document"):
            log.replace_document("", b"", b"a")


def _documents(log: Log) -> DocumentLog:
    return cast(DocumentLog, log)


def _replace(log: Log, _: Stopped, name: str, before: bytes, after: bytes) -> bool:
    return _documents(log).replace_document(name, before, after)
