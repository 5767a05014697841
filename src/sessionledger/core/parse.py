"""Arguments of commands, checked: whom a session is for, and what it carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unicodedata import category, is_normalized

from sessionledger import canonical
from sessionledger.core.policy import DEEPEST_ATTRIBUTES, Policy
from sessionledger.core.token import TOKEN_PREFIX, WHITE_SPACE
from sessionledger.errors import InvalidSession
from sessionledger.plain import as_text

_UNSEEN = frozenset(("Cf", "Zl", "Zp"))
# What Unicode calls Default_Ignorable among letters and marks, and the blanks of Ogham and Braille.
_FILLERS = (
    "\u034f\u115f\u1160\u1680\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
)


def parse_principal(principal: object, policy: Policy) -> str:
    """The principal without surrounding white space. Raises `InvalidSession`."""
    name = _parse_name("principal", principal, policy)
    if not name.isascii() and not policy.confusable_principals:
        _refuse_confusable(name)
    return name


def parse_external_id(external_id: object, policy: Policy) -> str | None:
    """The application's own name of a session, None when none is given. Raises `InvalidSession`."""
    return None if external_id is None else _parse_name("external_id", external_id, policy)


def parse_attributes(
    attributes: object, policy: Policy, *, field: str = "attributes"
) -> bytes | None:
    """The canonical text of the attributes, None when none were given. Raises `InvalidSession`."""
    if attributes is None:
        return None
    # The plain dict first: asking whether something is a Mapping takes longer.
    if type(attributes) is not dict and not isinstance(attributes, Mapping):
        raise InvalidSession(
            field, f"must be a JSON object, a dict, not {type(attributes).__name__}"
        )
    if not attributes:
        return b"{}"
    deepest = DEEPEST_ATTRIBUTES
    if policy.max_attributes_depth is not None:
        deepest = min(deepest, policy.max_attributes_depth)
    text, problem = None, ""
    try:
        text = canonical.encode(attributes, max_depth=deepest)
    except canonical.NotJSON as error:
        problem = str(error)
    if text is None:
        if "deeper than allowed" in problem:
            problem = f"nest more than {deepest} levels deep"
        raise InvalidSession(field, problem)
    if policy.max_attributes_bytes is not None and len(text) > policy.max_attributes_bytes:
        raise InvalidSession(
            field, f"take {len(text)} bytes as JSON; {policy.max_attributes_bytes} fit"
        )
    return text


def _parse_name(field: str, name: object, policy: Policy) -> str:
    text = as_text(name)
    if text is None:
        raise InvalidSession(field, f"must be text, not {type(name).__name__}")
    trimmed = text.strip(WHITE_SPACE)
    if not trimmed:
        raise InvalidSession(field, "must not be empty")
    if policy.max_principal_chars is not None and len(trimmed) > policy.max_principal_chars:
        raise InvalidSession(field, f"must be at most {policy.max_principal_chars} characters long")
    if trimmed.startswith(TOKEN_PREFIX) and not policy.token_shaped_principals:
        raise InvalidSession(field, "looks like a token, and tokens are never stored")
    # Printable text, which nearly every principal is, holds neither controls nor surrogates.
    if not trimmed.isprintable():
        _refuse_unwritable(field, trimmed, policy)
    return trimmed


def _refuse_confusable(principal: str) -> None:
    """Two principals that look the same would be two, and one could pass for the other."""
    for character in principal:
        if category(character) in _UNSEEN or character in _FILLERS:
            raise InvalidSession(
                "principal",
                f"must not hold U+{ord(character):04X}, which nobody can see; "
                "Policy(confusable_principals=True) allows it",
            )
    if not is_normalized("NFKC", principal):
        raise InvalidSession(
            "principal",
            "must be in Unicode's form NFKC: give it as unicodedata.normalize('NFKC', …) does; "
            "Policy(confusable_principals=True) allows other forms",
        )


def _refuse_unwritable(field: str, text: str, policy: Policy) -> None:
    categories = {category(character) for character in text}
    if "Cs" in categories:
        raise InvalidSession(field, "holds a lone surrogate, which is not text")
    if "Cc" in categories and not policy.control_characters:
        raise InvalidSession(field, "must not hold control characters")


def merged(target: Any, patch: Any) -> Any:
    """The target after a JSON Merge Patch; neither is changed (RFC 7396, section 2).

    An object's null members are removed from the target, its other members are merged into it.
    Whatever is not an object replaces the target as a whole.
    """
    if not isinstance(patch, Mapping):
        return patch
    after = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = merged(after.get(name), value)
    return after
