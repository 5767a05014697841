"""Equality that Python's `==` is too kind for: floats by their bits, instants by their offset."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Any


def same_json(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same: types too, floats bit for bit."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same_json(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same_json, left, right))
    if isinstance(left, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    return bool(left == right)


def same_instant(left: datetime | None, right: datetime | None) -> bool:
    """Whether two instants are the same and are written with the same offset."""
    if left is None or right is None:
        return left is right
    return left == right and left.utcoffset() == right.utcoffset()
