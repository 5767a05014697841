"""What every class of the suite rests on: the harness that was declared, and a ledger with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from sessionledger.testing.fixtures import Ledger
from sessionledger.testing.harness import Harness


def _needs(*capabilities: str) -> Callable[..., Ledger]:
    """A fixture: the ledger under test, for tests that need one of these capabilities."""

    @pytest.fixture
    def capable(_: Conformance, declared: Harness, ledger: Ledger) -> Ledger:
        if not any(getattr(declared, capability) for capability in capabilities):
            pytest.skip(f"the harness does not declare `{'` or `'.join(capabilities)}`")
        return ledger

    return capable


class Conformance:
    """Tests of one theme. A subclass says which log: by `harness`, or by the fixture `declared`."""

    harness: ClassVar[Harness]

    @pytest.fixture
    def declared(self) -> Harness:
        """The harness: to run the suite on several logs, override this with parameters."""
        return self.harness

    @pytest.fixture
    def ledger(self, declared: Harness, tmp_path: Path) -> Iterator[Ledger]:
        """A ledger under test, with the log."""
        ledger = Ledger(declared, tmp_path / "ledger")
        yield ledger
        ledger.close()

    persistent = _needs("persists")
    followed = _needs("follows", "shared")
    shared = _needs("shared")
    forking = _needs("forks")
    beside = _needs("append_bare")
    emptied = _needs("empty")
    compacted = _needs("compacts")
    copied = _needs("copies")
    documented = _needs("documents")
