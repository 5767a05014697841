"""The version of a session as an entity tag (RFC 9110, sections 8.8.3 and 13.1.1)."""

from __future__ import annotations

import re

from sessionledger.server.http.problems import Refused

_TAG = r'(W/)?"[!#-~]*"'
IF_MATCH = rf"^(\*|({_TAG}( *, *{_TAG})*)?)$"
"""What the header may hold: any tag, or a list of tags; an empty one matches none."""

_STRONG = re.compile(r'(?<!W/)"([1-9][0-9]{0,17})"')


def etag(version: int) -> str:
    """The tag of a version."""
    return f'"{version}"'


def versions_in(if_match: str | None) -> frozenset[int] | None:
    """The versions that an `If-Match` names; None where any will do."""
    if if_match in (None, "*"):
        return None
    # A weak tag, and one that is no version of ours, never matches.
    return frozenset(int(found) for found in _STRONG.findall(if_match))


def mismatch() -> Refused:
    """The answer where the session is at none of those versions."""
    return Refused(412, "version_conflict", "the session is at another version", field="If-Match")
