"""Tokens and handles.

A token is the bearer secret. Its handle is public: `"sha256:v1:"` and the hex SHA-256 of a domain
prefix and the trimmed token, exactly as the reference derives it. The 32-byte digest behind the
handle is the key under which a session's row is stored.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from hashlib import sha256
from typing import NewType

from sessionledger.core.policy import Policy
from sessionledger.errors import InvalidSession
from sessionledger.plain import as_text

Handle = NewType("Handle", str)
"""A session's public name, 74 characters: `sha256:v1:` and 64 lower-case hex digits."""

HANDLE_PREFIX = "sha256:v1:"
TOKEN_PREFIX = "harn_sess_"  # noqa: S105  public, in every token
TOKEN_RANDOM_BYTES = 32

# Of no token: a hash without the domain of tokens.
FORGOTTEN_KEY = sha256(b"sessionledger.forgotten").digest()
"""The row of this key says that the ledger forgot generated tokens."""
FORGOTTEN_HANDLE = Handle(HANDLE_PREFIX + FORGOTTEN_KEY.hex())
ERASURES_KEY = sha256(b"sessionledger.erasures").digest()
"""The events of this key are the lists of what was erased."""
ERASURES_HANDLE = Handle(HANDLE_PREFIX + ERASURES_KEY.hex())

# Unicode's White_Space, which Rust's `str::trim` takes. `str.strip()` without an argument would
# also take U+001C to U+001F, and so name another session than the reference does.
WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)

# A copy of a hash that has taken in the domain begins faster than a new one.
_begun = sha256(b"harn.orchestrator.session-token.v1\0").copy
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_GENERATED = re.compile(TOKEN_PREFIX + "[A-Za-z0-9_-]{43}", re.ASCII)
_HANDLE = re.compile(r"sha256:v1:[0-9a-f]{64}", re.ASCII)


class GeneratedToken(str):
    """A token that this package made. Nobody comes upon it twice, so its use may be forgotten."""

    __slots__ = ()


def issue(random: bytes) -> GeneratedToken:
    """A new token from 32 random bytes: `harn_sess_` and base64url without padding."""
    text = b2a_base64(random, newline=False).translate(_URL_SAFE)
    return GeneratedToken(TOKEN_PREFIX + text.rstrip(b"=").decode())


def is_shaped_as_generated(token: str) -> bool:
    """Whether a trimmed token might be one that was generated."""
    return _GENERATED.fullmatch(token) is not None


def parse_token(token: object, policy: Policy) -> str:
    """The token without surrounding white space. Raises `InvalidSession` for what can't be one."""
    if type(token) is not str:
        token = _plain_text(token)
    # What `strip()` takes includes White_Space: where it takes nothing, which is cheaper to find
    # out, there is nothing to trim.
    stripped = token.strip()
    trimmed = token if stripped is token else token.strip(WHITE_SPACE)
    length, longest = len(trimmed), policy.max_token_chars
    if length < policy.min_token_chars:
        raise InvalidSession("token", _too_short(trimmed, policy))
    if longest is not None and length > longest:
        raise InvalidSession("token", f"must be at most {longest} characters long")
    if trimmed.startswith(HANDLE_PREFIX) and not policy.handle_shaped_tokens:
        raise InvalidSession("token", "is shaped like a handle; administrative calls take handle=")
    return trimmed


def digest(token: str) -> bytes:
    """The 32-byte key of a trimmed token."""
    hash = _begun()
    try:
        hash.update(token.encode())
        return hash.digest()
    except UnicodeEncodeError:
        # Raised below, outside of this block, so that the error has no context: it has the token.
        pass
    raise InvalidSession("token", "holds a lone surrogate, which is not text")


def handle_of(key: bytes) -> Handle:
    """The handle of a 32-byte key."""
    return Handle(HANDLE_PREFIX + key.hex())


def key_of(handle: str) -> bytes | None:
    """The 32-byte key of a handle, or None for a text that no token can have as its handle."""
    return bytes.fromhex(handle[len(HANDLE_PREFIX) :]) if _HANDLE.fullmatch(handle) else None


def parse_handle(handle: object) -> bytes:
    """The 32-byte key of a handle given by a caller. Raises `InvalidSession`.

    The message does not repeat the argument: it might be a token, passed by mistake.
    """
    text = as_text(handle)
    key = None if text is None else key_of(text.strip(WHITE_SPACE))
    if key is None:
        raise InvalidSession("handle", "must be sha256:v1: and 64 lower-case hex digits")
    return key


def _plain_text(token: object) -> str:
    text = as_text(token)
    if text is None:
        raise InvalidSession("token", f"must be text, not {type(token).__name__}")
    return text


def _too_short(trimmed: str, policy: Policy) -> str:
    if not trimmed:
        return "must not be empty"
    return f"must be at least {policy.min_token_chars} characters long"
