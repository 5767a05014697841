"""What a handler requires of a live session."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from sessionledger import Session, canonical
from sessionledger.web.challenges import Denied, insufficient, is_scope, lacking, missing
from sessionledger.web.claims import scope_of


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """What a handler requires of a live session. Raises `ValueError` for what nobody could meet.

    scopes: each has to stand in the attribute `scope`, a text with spaces or a list of texts.
    attributes: each has to be there, and equal. max_auth_age: the bearer proved who it is no longer
    ago than that. anonymous: an anonymous session will do.
    """

    scopes: Collection[str] = ()
    attributes: Mapping[str, Any] = {}
    max_auth_age: timedelta | None = None
    anonymous: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.scopes, str) or not all(map(_is_one_scope, self.scopes)):
            raise ValueError("scopes must be a collection of scopes, without spaces or quotes")
        if self.max_auth_age is not None and self.max_auth_age <= timedelta(0):
            raise ValueError("max_auth_age must be positive")

    def and_scopes(self, scopes: Collection[str]) -> Requirements:
        """The same, and these scopes."""
        return msgspec.structs.replace(self, scopes={*self.scopes, *scopes}) if scopes else self

    def refusal(self, session: Session, realm: str) -> Denied | None:
        """The refusal of a session that does not meet them; None for one that does."""
        if session.is_anonymous and not self.anonymous:
            return missing(realm)
        if not set(self.scopes) <= set((scope_of(session) or "").split()):
            return insufficient(realm, " ".join(sorted(self.scopes)))
        if not all(_has(session, name, value) for name, value in self.attributes.items()):
            return lacking(realm)
        return None


def _is_one_scope(scope: str) -> bool:
    return is_scope(scope) and " " not in scope


def _has(session: Session, name: str, value: object) -> bool:
    """Whether an attribute is there and equal. `True` is not 1 in JSON, as it is in Python."""
    found = session.attributes
    return name in found and canonical.encode(found[name]) == canonical.encode(value)


A_SESSION = Requirements()
ANY_SESSION = Requirements(anonymous=True)
