"""For tests: a clock that is told the time, and the conformance suite that any log has to pass.

`Clock` and `Harness` need nothing else; `sessionledger.testing.conformance` needs pytest and
hypothesis, which the extra `testing` brings.
"""

from sessionledger.testing.clock import Clock
from sessionledger.testing.harness import Harness

__all__ = ["Clock", "Harness"]
