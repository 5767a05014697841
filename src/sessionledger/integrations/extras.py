"""What is said where a framework is not installed."""

from __future__ import annotations


def missing(extra: str) -> ImportError:
    """What the module of a framework raises when that can't be imported."""
    return ImportError(
        f"sessionledger.integrations.{extra} needs packages that are not installed: "
        f"pip install 'sessionledger[{extra}]'"
    )
