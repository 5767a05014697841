"""Whether an answer is the recorded one: values and their types exactly, times as instants.

A recording masks what the reference generated. `<generated>` is anything; `<generated:NAME>` is
one thing throughout a sequence: the first sight of it gives it a value, all later ones must agree.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Set
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tests.parity.recorded import Object

ANYTHING = "<generated>"
_NAMED = re.compile(r"<generated:[^>]+>")
_TIMES = ("created_at", "last_seen_at", "expires_at", "expired_at")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d+))?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_SHOWN_CHARS = 300


class Difference(NamedTuple):
    """Where an answer differs. Its text holds no token."""

    path: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        if self.path.endswith(".id") and isinstance(self.expected, str):
            return f"{self.path}: expected the session's token, got something else"
        return f"{self.path}: expected {_shown(self.expected)}, got {_shown(self.got)}"


class Masks:
    """What the names of a sequence's masks stand for."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def fill(self, value: Any) -> Any:
        """The value with every known mask replaced by what it stands for."""
        if isinstance(value, str):
            return _NAMED.sub(lambda mask: self._values.get(mask[0], mask[0]), value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def name(self, mask: str, value: str) -> None:
        """Let a mask stand for a value from here on."""
        self._values[f"<generated:{mask}>"] = value

    def accept(self, expected: Any, got: Any) -> bool:
        """Whether `expected` is a mask that may stand for `got`; from here on it does."""
        if expected == ANYTHING:
            return got is not None
        if not isinstance(expected, str) or not _NAMED.fullmatch(expected):
            return False
        return isinstance(got, str) and self._values.setdefault(expected, got) == got


def difference(
    expected: Object, got: Object, masks: Masks, blurred: Set[datetime] = frozenset()
) -> Difference | None:
    """The first place where an answer is not the recorded one.

    Which offset an instant in `blurred` has does not count.
    """
    if "err" in expected:
        expected = {"err": {"kind": expected["err"]["kind"]}}
    recorded = _with_instants(masks.fill(expected), blurred)
    return _differ("answer", recorded, _with_instants(got, blurred), masks)


def blurred_instants(value: Any) -> set[datetime]:
    """Instants that several recorded times share once they are cut to microseconds, as ours are.

    Of two such times we can't tell which is the later, and so whose offset stands.
    """
    finer = defaultdict(set)
    for at, fraction in _times(value):
        finer[at].add(fraction)
    return {at for at, fractions in finer.items() if len(fractions) > 1}


def _times(value: Any) -> Iterator[tuple[datetime, str]]:
    """Every time in a value, with the digits of its fraction."""
    if isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _times(item)
    elif isinstance(value, str) and (time := _TIME.fullmatch(value)):
        yield datetime.fromisoformat(value), (time[1] or "").ljust(9, "0")


def _with_instants(value: Any, blurred: Set[datetime]) -> Any:
    """A result with its own times, not those of attributes, in one notation, to microseconds."""
    if isinstance(value, list):
        return [_with_instants(item, blurred) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _with_instant(key, item, blurred) for key, item in value.items()}


def _with_instant(key: str, value: Any, blurred: Set[datetime]) -> Any:
    if key == "attributes":
        return value
    if key not in _TIMES or not isinstance(value, str) or not _TIME.fullmatch(value):
        return _with_instants(value, blurred)
    at = datetime.fromisoformat(value)
    return (at.astimezone(UTC) if at in blurred else at).isoformat()


def _differ(path: str, expected: Any, got: Any, masks: Masks) -> Difference | None:
    if masks.accept(expected, got):
        return None
    if isinstance(expected, dict) and isinstance(got, dict) and expected.keys() == got.keys():
        pairs = [(f"{path}.{key}", expected[key], got[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        pairs = [(f"{path}[{n}]", *pair) for n, pair in enumerate(zip(expected, got, strict=True))]
    else:
        return None if _same(expected, got) else Difference(path, expected, got)
    return next((found for pair in pairs if (found := _differ(*pair, masks))), None)


def _same(expected: Any, got: Any) -> bool:
    # `repr` tells 1 from 1.0 and True, and 0.0 from -0.0, where `==` does not.
    return type(expected) is type(got) and repr(expected) == repr(got)


def _shown(value: Any) -> str:
    text = json.dumps(_without_token(value), default=repr)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _without_token(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_token(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if key != "id" or isinstance(item, int)}
    return {key: _without_token(item) for key, item in kept.items()}
