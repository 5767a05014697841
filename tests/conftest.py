"""How hard the properties are tried: `--hypothesis-profile=thorough` tries them harder; in how many
processes; and that tests can be interrupted."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# A shell lets what it runs in the background ignore Ctrl-C, and so would every process from here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Neither timing nor the speed of this machine is ever a reason to fail.
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("default", max_examples=60, **_CALM)  # type: ignore[arg-type]
settings.register_profile("thorough", max_examples=2000, **_CALM)  # type: ignore[arg-type]
settings.load_profile("default")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three for two processors: a third of the time, tests wait for the disk and for others."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)
