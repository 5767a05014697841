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
        ("idle_timeout", {"idle_timeout": 30}),
        ("absolute_timeout", {"absolute_timeout": timedelta(0)}),
        ("absolute_timeout", {"absolute_timeout": "PT1H"}),
        ("touch_interval", {"touch_interval": timedelta(-1)}),
        ("touch_interval", {"touch_interval": 60}),
        ("rotation_grace", {"rotation_grace": timedelta(seconds=-1)}),
        ("rotation_grace", {"rotation_grace": 30}),
        ("sweep_margin", {"sweep_margin": timedelta(seconds=-1)}),
        ("on_reuse", {"on_reuse": "forgive"}),
        ("on_reuse", {"on_reuse": None}),
        ("on_limit", {"on_limit": "evict_newest"}),
        ("max_successors", {"max_successors": 0}),
        ("max_successors", {"max_successors": None}),
        ("max_successors", {"max_successors": True}),
        ("max_sessions_per_principal", {"max_sessions_per_principal": 0}),
        ("max_sessions_per_principal", {"max_sessions_per_principal": 2.5}),
        ("max_token_chars", {"min_token_chars": 40, "max_token_chars": 39}),
    ],
)
def test_a_contradiction_is_refused_by_name(field: str, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidPolicy, match=field):
        Policy(**given)


def test_nothing_is_what_some_spans_may_be() -> None:
    none = timedelta(0)
    policy = Policy(touch_interval=none, rotation_grace=none, sweep_margin=none)
    assert policy.rotation_grace == none


def test_the_defaults_are_what_the_docs_say() -> None:
    policy = Policy()
    assert policy.touch_interval is None
    assert policy.rotation_grace == timedelta(seconds=30)
    assert policy.sweep_margin == timedelta(minutes=5)
    assert (policy.max_successors, policy.on_reuse) == (8, "revoke")
    assert policy.max_sessions_per_principal is None
    assert policy.idle_timeout is policy.absolute_timeout is None


def test_the_reference_s_policy_has_its_limits_only() -> None:
    policy = Policy.reference()
    assert policy.min_token_chars == 32
    assert policy.max_token_chars is None
    assert policy.max_attributes_bytes is None
    assert policy.max_attributes_depth is None
    assert policy.handle_shaped_tokens
    assert policy.control_characters
    assert policy.confusable_principals
