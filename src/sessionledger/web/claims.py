"""What a session says of its bearer to others: the attributes that OAuth has names for."""

from __future__ import annotations

from sessionledger import Session


def scope_of(session: Session) -> str | None:
    """The attribute `scope`: a text with spaces, or a list of texts."""
    scope = session.attributes.get("scope")
    if isinstance(scope, list) and all(isinstance(one, str) for one in scope):
        return " ".join(scope)
    return scope if isinstance(scope, str) else None


def text_of(session: Session, name: str) -> str | None:
    """An attribute that is a text; None for any other."""
    value = session.attributes.get(name)
    return value if isinstance(value, str) else None
