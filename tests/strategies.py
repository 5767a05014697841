"""What properties are tried with: JSON values, instants, tokens, and events of sessions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeAlias

from hypothesis import strategies as st

from sessionledger import canonical
from sessionledger.core.events import (
    Created,
    DecodedEvent,
    Expired,
    Malformed,
    SessionEvent,
    Touched,
)
from sessionledger.core.token import WHITE_SPACE, handle_of

Json: TypeAlias = Any

HANDLE = handle_of(b"\7" * 32)
START = datetime(2026, 5, 2, 12, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = (
    st.integers(-(2**80), 2**80)
    | st.integers(-100, 100)
    | st.floats(allow_nan=False, allow_infinity=False)
)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)

zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(
    lambda minutes: timezone(timedelta(minutes=minutes)) if minutes else UTC
)
instants = st.datetimes(timezones=zones)
"""Any instant with a fixed offset, at the edges of the calendar too."""

near_instants = st.integers(-3600, 3600).map(lambda seconds: START + timedelta(seconds=seconds))
"""Instants close enough together that they collide."""

tokens = st.text(
    st.characters(min_codepoint=33, exclude_categories=["Cs"], exclude_characters=WHITE_SPACE),
    min_size=32,
    max_size=80,
).filter(lambda token: not token.startswith("sha256:v1:"))
"""Texts that can be tokens as they are."""

spans = st.timedeltas(timedelta(microseconds=1), timedelta(days=400))
"""Spans that somebody may be promised, to the microsecond."""

handles = st.sampled_from([handle_of(bytes([number]) * 32) for number in range(4)])
"""Handles of other sessions."""

# No fold looks into them: what JSON may be is tried where it is read.
_attributes = st.dictionaries(texts, st.none() | numbers | texts, max_size=2).map(canonical.encode)


def events(times: st.SearchStrategy[datetime] = near_instants) -> st.SearchStrategy[SessionEvent]:
    """An event of the one handle, as we may have written it."""
    return st.one_of(_created(times), _touched(times), _expired(times))


def happenings(
    times: st.SearchStrategy[datetime] = near_instants,
) -> st.SearchStrategy[DecodedEvent]:
    """An event of the one handle, as it may be read: unreadable ones too."""
    return events(times) | st.just(Malformed(HANDLE))


def histories(max_size: int = 12) -> st.SearchStrategy[list[DecodedEvent]]:
    """Any sequence of events, most of which no decision would have allowed."""
    return st.lists(happenings(), max_size=max_size)


def _created(times: st.SearchStrategy[datetime]) -> st.SearchStrategy[SessionEvent]:
    return st.builds(
        Created,
        attributes=_attributes,
        created_at=times,
        expires_at=times,
        last_seen_at=times,
        principal=texts,
        token_handle=st.just(HANDLE),
        authenticated_at=st.none() | times,
        deadline=st.none() | times,
        external_id=st.none() | texts,
        family=st.none() | handles,
        idle_timeout=st.none() | spans,
    )


def _touched(times: st.SearchStrategy[datetime]) -> st.SearchStrategy[SessionEvent]:
    return st.builds(
        Touched,
        attributes=st.none() | _attributes,
        expires_at=st.none() | times,
        last_seen_at=times,
        token_handle=st.just(HANDLE),
        authenticated_at=st.none() | times,
        deadline=st.none() | times,
        successor=st.none() | handles,
    )


def _expired(times: st.SearchStrategy[datetime]) -> st.SearchStrategy[SessionEvent]:
    return st.builds(
        Expired,
        expired_at=times,
        token_handle=st.just(HANDLE),
        cause=st.sampled_from(["signed_out", "revoked", "reused"]),
        successor=st.none() | handles,
    )
