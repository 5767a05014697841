"""What every class of the suite rests on: the harness that was declared, and a ledger with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from sessionledger.testing.fixtures import Ledger
from sessionledger.testing.harness import AnyHarness


class Conformance:
    """Tests of one theme. A subclass says which log: by `harness`, or by the fixture `declared`."""

    harness: ClassVar[AnyHarness]

    @pytest.fixture
    def declared(self) -> AnyHarness:
        """The harness: to run the suite on several logs, override this with parameters."""
        return self.harness

    @pytest.fixture
    def ledger(self, declared: AnyHarness, tmp_path: Path) -> Iterator[Ledger]:
        """A ledger under test, with the log."""
        ledger = Ledger(declared, tmp_path / "ledger")
        yield ledger
        ledger.close()

    @pytest.fixture
    def persistent(self, declared: AnyHarness, ledger: Ledger) -> Ledger:
        """A ledger under test, with a log that can be opened again."""
        return _if("persists", declared.persists, ledger)

    @pytest.fixture
    def followed(self, declared: AnyHarness, ledger: Ledger) -> Ledger:
        """A ledger under test, with a log that other processes may read while one writes."""
        return _if("follows", declared.followed, ledger)

    @pytest.fixture
    def shared(self, declared: AnyHarness, ledger: Ledger) -> Ledger:
        """A ledger under test, with a log that several processes may write."""
        return _if("shared", declared.shared, ledger)

    @pytest.fixture
    def forking(self, declared: AnyHarness, ledger: Ledger) -> Ledger:
        """A ledger under test, with a log that a forked child may use."""
        return _if("forks", declared.forks, ledger)

    @pytest.fixture
    def beside(self, declared: AnyHarness, ledger: Ledger) -> Ledger:
        """A ledger under test, with a log that foreign writers may append to."""
        return _if("append_bare", declared.append_bare is not None, ledger)

    @pytest.fixture
    def emptied(self, declared: AnyHarness, ledger: Ledger) -> Ledger:
        """A ledger under test, with a log whose events can be removed."""
        return _if("empty", declared.empty is not None, ledger)

    @pytest.fixture
    def looped(self, declared: AnyHarness, ledger: Ledger) -> Ledger:
        """A ledger under test, with a log that serves several event loops."""
        return _if("loops", declared.loops, ledger)


def _if(what: str, declared: bool, ledger: Ledger) -> Ledger:
    if not declared:
        pytest.skip(f"the harness does not declare `{what}`")
    return ledger
