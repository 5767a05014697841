"""Policy: every limit and default lifetime, in one place."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from sessionledger.errors import InvalidPolicy

DEEPEST_ATTRIBUTES = 125
"""No policy allows more: within an event, two levels down, it is what every reader takes."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the decisions allow. Immutable; two policies with the same fields are equal.

    ttl: how long a session lives when `create` is told nothing else.
    idle_timeout: a session not touched for this long ends; `touch` slides its expiry, never past
        the deadline that the session carries. None: expiry does not slide.
    min_token_chars, max_token_chars: length of a token in characters, after trimming.
    handle_shaped_tokens: whether a token may begin with `sha256:v1:`, as a handle does.
    control_characters: whether a principal may hold control characters (Unicode category Cc).
    token_shaped_principals: whether a principal may begin with `harn_sess_`, as a generated token
        does; it is more likely a token in the wrong place, and would be stored.
    max_principal_chars: length of a principal in characters, after trimming.
    max_attributes_bytes, max_attributes_depth: size of the attributes as canonical JSON, and how
        deep their objects and arrays nest (`{"a": 1}` is one level).
    max_annotation_bytes: size of reason, actor and context together, as UTF-8.

    A limit of None is no limit, but for the depth, which ends at 125. Raises `InvalidPolicy` when
    the fields contradict each other.
    """

    ttl: timedelta = timedelta(days=14)
    idle_timeout: timedelta | None = None
    min_token_chars: int = 32
    max_token_chars: int | None = 512
    handle_shaped_tokens: bool = False
    control_characters: bool = False
    token_shaped_principals: bool = False
    max_principal_chars: int | None = 512
    max_attributes_bytes: int | None = 64 * 1024
    max_attributes_depth: int | None = 64
    max_annotation_bytes: int = 4096

    def __post_init__(self) -> None:
        for name in ("ttl", "idle_timeout"):
            if not isinstance(getattr(self, name), timedelta | None):
                raise InvalidPolicy(f"{name} must be a timedelta")
        if self.ttl <= timedelta(0):
            raise InvalidPolicy("ttl must be longer than nothing")
        if self.idle_timeout is not None and self.idle_timeout <= timedelta(0):
            raise InvalidPolicy("idle_timeout must be longer than nothing, or None")
        if self.max_token_chars is not None and self.max_token_chars < self.min_token_chars:
            raise InvalidPolicy("max_token_chars is below min_token_chars: no token would fit")

    @classmethod
    def reference(cls) -> Policy:
        """Accepts whatever the reference accepts: for replaying its data, not for production."""
        return cls(
            max_token_chars=None,
            handle_shaped_tokens=True,
            control_characters=True,
            token_shaped_principals=True,
            max_principal_chars=None,
            max_attributes_bytes=None,
            max_attributes_depth=None,
        )
