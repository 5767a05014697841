"""How many processes run tests, and that tests can be interrupted. `tiers.py` says which tests run,
`servers.py` which servers they share."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator

import pytest

# A shell lets what it runs in the background ignore Ctrl-C, and so would every process from here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.servers", "tests.tiers"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: the garbage collector need not look at it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three for two processors: a third of the time, tests wait for the disk and for others."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)
