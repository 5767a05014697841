"""The version of a session as an entity tag (RFC 9110, sections 8.8.3 and 13.1.1)."""

from __future__ import annotations

import re

from sessionledger.server.problems import Refused, invalid

_TAG = r'(?:W/)?"[\x21\x23-\x7e]*"'
_TAGS = re.compile(rf"\s*{_TAG}(?:\s*,\s*{_TAG})*\s*")
_STRONG = re.compile(r'(?<!W/)"([1-9][0-9]{0,17})"')


def etag(version: int) -> str:
    """The tag of a version."""
    return f'"{version}"'


def versions_in(if_match: str | None) -> frozenset[int] | None:
    """The versions that `If-Match` names; None where any will do. Raises `Refused`."""
    if if_match is None or if_match.strip() == "*":
        return None
    if not _TAGS.fullmatch(if_match):
        raise invalid("If-Match", "takes entity tags in quotes, or *")
    # A weak tag, and one that is no version of ours, never matches.
    return frozenset(int(found) for found in _STRONG.findall(if_match))


def mismatch() -> Refused:
    """The answer where the session is at none of those versions."""
    return Refused(412, "version_conflict", "the session is at another version", field="If-Match")
