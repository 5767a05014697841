"""Policy: limits that don't contradict each other."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sessionledger import InvalidPolicy, Policy


def test_equal_fields_make_equal_policies() -> None:
    assert Policy() == Policy()
    assert Policy(ttl=timedelta(hours=1)) != Policy()
    assert hash(Policy()) == hash(Policy())


def test_a_policy_can_t_be_changed() -> None:
    with pytest.raises(AttributeError):
        Policy().ttl = timedelta(1)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("ttl", {"ttl": timedelta(0)}),
        ("ttl", {"ttl": timedelta(days=-1)}),
        ("idle_timeout", {"idle_timeout": timedelta(0)}),
        ("max_token_chars", {"min_token_chars": 40, "max_token_chars": 39}),
    ],
)
def test_a_contradiction_is_refused_by_name(field: str, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidPolicy, match=field):
        Policy(**given)


def test_the_reference_s_policy_has_its_limits_only() -> None:
    policy = Policy.reference()
    assert policy.min_token_chars == 32
    assert policy.max_token_chars is None
    assert policy.max_attributes_bytes is None
    assert policy.max_attributes_depth is None
    assert policy.handle_shaped_tokens
    assert policy.control_characters
