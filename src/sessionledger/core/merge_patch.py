"""JSON Merge Patch (RFC 7396): what a patch makes of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """The target after the patch; neither is changed (RFC 7396, section 2).

    An object's null members are removed from the target, its other members are merged into it;
    whatever is not an object replaces the target as a whole.
    """
    if not isinstance(patch, Mapping):
        return patch
    after = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = merged(after.get(name), value)
    return after
