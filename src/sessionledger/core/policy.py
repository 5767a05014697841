"""Policy: every limit and default lifetime, in one place."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import msgspec
from msgspec.structs import fields, force_setattr

from sessionledger.errors import InvalidPolicy
from sessionledger.plain import as_number, as_span, as_text

DEEPEST_ATTRIBUTES = 125
"""No policy allows more: within an event, two levels down, it is what every reader takes."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the decisions allow. Immutable; two policies with the same fields are equal.

    Lifetimes. What a session was promised at its creation it carries with it: a later policy may
    shorten it, and never stretches it.
    ttl: how long a session lives when neither `create` nor `absolute_timeout` says so.
    idle_timeout: a session not touched for this long ends; `touch` and `authenticate` slide its
        expiry, never past its deadline. None: expiry does not slide.
    absolute_timeout: no session outlives this, whatever is asked for. None: no such limit.
    touch_interval: `authenticate` records that a session was seen once in this time, and at least
        four times in an idle timeout. 0 records every request. None: a tenth of the idle timeout,
        at most ten minutes; ten minutes without an idle timeout.

    Rotation.
    rotation_grace: how long a rotated token still authenticates.
    max_successors: how many sessions one token can be rotated into within its grace.
    max_family: how many sessions of a family have no end; one more ends the oldest superseded one.
    max_rotations_per_minute: how often a family can be rotated within a minute.
    on_reuse: what a rotated token does that is presented after its grace: "revoke" ends its family
        (RFC 9700, section 4.14.2), "deny" only does not authenticate.

    Numbers.
    max_sessions_per_principal: live sessions that one principal may have; None for any number.
    on_limit: what one more does: "deny" refuses it, "evict_oldest" ends the oldest.
    unique_principals: whether a principal may have a session only while it has no other live one,
        children included. One more is refused.
    max_children: live child sessions below one login, those of its children included. One more is
        refused.
    max_child_depth: how many sessions a child may have above it.
    sweep_margin: how long a session must have lapsed before `sweep` ends it.

    Sizes.
    min_token_chars, max_token_chars: length of a token in characters, after trimming.
    handle_shaped_tokens: whether a token may begin with `sha256:v1:`, as a handle does.
    control_characters: whether a principal may hold control characters (Unicode category Cc).
    confusable_principals: whether a principal may hold characters that nobody can see (zero width,
        say), or be in another form than Unicode's NFKC (full width, say).
    token_shaped_principals: whether a principal may begin with `harn_sess_`, as a generated token
        does; it is more likely a token in the wrong place, and would be stored.
    max_principal_chars: length of a principal, or of an external id, in characters, after trimming.
    max_attributes_bytes, max_attributes_depth: size of the attributes as canonical JSON, and how
        deep their objects and arrays nest (`{"a": 1}` is one level).
    max_annotation_bytes: size of reason, actor and context together, as UTF-8.

    A size of None is no limit, but for the depth, which ends at 125. Raises `InvalidPolicy` when
    the fields contradict each other.
    """

    ttl: timedelta = timedelta(days=14)
    idle_timeout: timedelta | None = None
    absolute_timeout: timedelta | None = None
    touch_interval: timedelta | None = None

    rotation_grace: timedelta = timedelta(seconds=30)
    max_successors: int = 8
    max_family: int = 32
    max_rotations_per_minute: int = 30
    on_reuse: Literal["revoke", "deny"] = "revoke"

    max_sessions_per_principal: int | None = None
    on_limit: Literal["deny", "evict_oldest"] = "deny"
    unique_principals: bool = False
    max_children: int = 256
    max_child_depth: int = 3
    sweep_margin: timedelta = timedelta(minutes=5)

    min_token_chars: int = 32
    max_token_chars: int | None = 512
    handle_shaped_tokens: bool = False
    control_characters: bool = False
    confusable_principals: bool = False
    token_shaped_principals: bool = False
    max_principal_chars: int | None = 512
    max_attributes_bytes: int | None = 64 * 1024
    max_attributes_depth: int | None = 64
    max_annotation_bytes: int = 4096

    def __post_init__(self) -> None:
        for name, is_positive in _SPANS.items():
            self._take(name, _span(name, getattr(self, name), positive=is_positive))
        for name, is_positive in _OPTIONAL_SPANS.items():
            if getattr(self, name) is not None:
                self._take(name, _span(name, getattr(self, name), positive=is_positive))
        for name, allowed in _CHOICES.items():
            self._take(name, as_text(getattr(self, name)))
            if getattr(self, name) not in allowed:
                raise InvalidPolicy(f"{name} is one of {', '.join(map(repr, allowed))}")
        self._take_numbers()
        if self.max_token_chars is not None and self.max_token_chars < self.min_token_chars:
            raise InvalidPolicy("max_token_chars is below min_token_chars: no token would fit")

    def _take_numbers(self) -> None:
        for name, least in _NUMBERS.items():
            self._take(name, _number(name, getattr(self, name), least))
        for name in _OPTIONAL_NUMBERS:
            if getattr(self, name) is not None:
                self._take(name, _number(name, getattr(self, name)))
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise InvalidPolicy(f"{name} must be True or False, not {getattr(self, name)!r}")

    def _take(self, name: str, value: object) -> None:
        """Keep the value as Python's own type."""
        force_setattr(self, name, value)

    @classmethod
    def aal1(cls) -> Policy:
        """NIST SP 800-63B-4, section 2.1.3: 30 days in all."""
        return cls(ttl=timedelta(days=30), absolute_timeout=timedelta(days=30))

    @classmethod
    def aal2(cls) -> Policy:
        """NIST SP 800-63B-4, section 2.2.3: 24 hours in all, and 1 hour without activity."""
        return cls(
            ttl=timedelta(hours=24),
            idle_timeout=timedelta(hours=1),
            absolute_timeout=timedelta(hours=24),
        )

    @classmethod
    def aal3(cls) -> Policy:
        """NIST SP 800-63B-4, section 2.3.3: 12 hours in all, and 15 minutes without activity."""
        return cls(
            ttl=timedelta(hours=12),
            idle_timeout=timedelta(minutes=15),
            absolute_timeout=timedelta(hours=12),
        )

    @classmethod
    def reference(cls) -> Policy:
        """Accepts and records what the reference does: to replay its data, not for production."""
        return cls(
            touch_interval=timedelta(0),
            max_token_chars=None,
            handle_shaped_tokens=True,
            control_characters=True,
            confusable_principals=True,
            token_shaped_principals=True,
            max_principal_chars=None,
            max_attributes_bytes=None,
            max_attributes_depth=None,
        )


def given_policy(policy: object) -> Policy:
    """The policy that a store is opened with, the default where none is. Raises `InvalidPolicy`."""
    if policy is None:
        return Policy()
    if not isinstance(policy, Policy):
        raise InvalidPolicy(f"policy must be a Policy, not {type(policy).__name__}")
    return policy


# Whether each must be positive.
_OPTIONAL_SPANS = {"idle_timeout": True, "absolute_timeout": True, "touch_interval": False}
_SPANS = {"ttl": True, "rotation_grace": False, "sweep_margin": False}
# How large each must be. A family has room for a session and its successor.
_NUMBERS = {
    "max_successors": 1,
    "max_family": 2,
    "max_rotations_per_minute": 1,
    "max_children": 1,
    "max_child_depth": 1,
    "min_token_chars": 1,
    "max_annotation_bytes": 0,
}
_OPTIONAL_NUMBERS = [one.name for one in fields(Policy) if one.type == int | None]
_FLAGS = [one.name for one in fields(Policy) if one.type is bool]
_CHOICES = {"on_reuse": ("revoke", "deny"), "on_limit": ("deny", "evict_oldest")}


def _span(name: str, value: object, *, positive: bool) -> timedelta:
    span = as_span(value)
    if span is None:
        raise InvalidPolicy(f"{name} must be a timedelta, not {type(value).__name__}")
    if positive and span <= timedelta(0):
        raise InvalidPolicy(f"{name} must be positive, not {span}")
    if span < timedelta(0):
        raise InvalidPolicy(f"{name} must not be negative, but is {span}")
    return span


def _number(name: str, value: object, least: int = 1) -> int:
    number = as_number(value)
    if number is None or number < least:
        raise InvalidPolicy(f"{name} must be a whole number, {least} or more, not {value!r}")
    return number
