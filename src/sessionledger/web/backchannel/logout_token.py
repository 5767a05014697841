"""A logout token, verified: OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6.

1. A key of the provider made the signature, by an algorithm that is allowed. Its `kid` chooses the
   key. Without a `kid` the provider must have a single key (OpenID Connect Core, 10.1).
2. The header names no extension, since none is understood, and no other kind of token.
3. The claims are there, of their types, and for this application, now. Others are ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

import msgspec
from joserfc.errors import JoseError
from joserfc.jws import CompactSignature, JWSRegistry, extract_compact, validate_compact
from msgspec import UNSET, Meta

from sessionledger.web.backchannel.keys import Key, Keys

EVENT = "http://schemas.openid.net/event/backchannel-logout"
ALGORITHMS = {f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)} | {
    "Ed25519"
}
"""All have a public key: neither `none` nor a secret that both sides have is one of them."""
LEEWAY_SECONDS = 60
MAX_AGE_SECONDS = 600

_TYPE, _ANY_TYPE = "logout+jwt", "jwt"

Name = Annotated[str, Meta(min_length=1)]
Subject = Annotated[str, Meta(min_length=1, max_length=255)]


class Refused(Exception):
    """A request that ends nobody. The text says why, and repeats nothing of the token."""


class UnknownKey(Refused):
    """No key that is known made the signature. The provider may have a new one."""


class LogoutToken(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a logout token, by their names."""

    iss: str
    aud: str | list[str]
    iat: float
    exp: float
    jti: Name
    events: dict[str, Any]
    sub: Subject = ""
    sid: Name = ""
    nbf: float = 0
    nonce: Any = UNSET

    def check(self, issuer: str, audiences: Collection[str], now: float) -> None:
        """Raises `Refused` if it does not hold, at a time in seconds since 1970."""
        told = {self.aud} if isinstance(self.aud, str) else {*self.aud}
        early, late = now + LEEWAY_SECONDS, now - LEEWAY_SECONDS
        refuse_first(
            {
                "another provider issued it": self.iss != issuer,
                "it is for another application": not told or not told <= {*audiences},
                "it was issued in the future": self.iat > early,
                "it was issued too long ago": self.iat <= late - MAX_AGE_SECONDS,
                "it is expired": self.exp <= late,
                "it is not valid yet": self.nbf > early,
                "its events are not a logout": not isinstance(self.events.get(EVENT), dict),
                "it has a nonce, as ID tokens have": self.nonce is not UNSET,
                "it has neither sub nor sid": not self.sub and not self.sid,
            }
        )


def decode(text: str, keys: Keys, algorithms: Collection[str], is_typed: bool) -> LogoutToken:
    """The claims of a token whose signature holds. is_typed: its `typ` has to say what it is.

    Raises `Refused`.
    """
    registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
    try:
        signed = extract_compact(text.encode("ascii"), registry=registry)
        header = signed.headers()
        registry.check_header({**header, "crit": []})
    except Exception:  # noqa: BLE001  whatever the library makes of garbage, it is refused
        raise Refused("it is not a signed token") from None
    named, kid = header.get("typ", _ANY_TYPE).lower(), header.get("kid")
    types = {_TYPE} if is_typed else {_TYPE, _ANY_TYPE}
    refuse_first(
        {
            "its algorithm is not allowed": header["alg"] not in algorithms,
            "its header names extensions, and none is understood": "crit" in header,
            "its typ is not logout+jwt": named.removeprefix("application/") not in types,
            "it has no kid, and the provider has several keys": kid is None and len(keys) > 1,
        }
    )
    chosen = [key for key in keys if kid is None or key.kid == kid]
    if not any(_made(signed, key, registry) for key in chosen):
        raise UnknownKey("no key of the provider made its signature")
    try:
        return msgspec.json.decode(signed.payload, type=LogoutToken)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        is_json = isinstance(error, msgspec.ValidationError)
        raise Refused(f"its claims: {error if is_json else 'no JSON'}") from None


def _made(signed: CompactSignature, key: Key, registry: JWSRegistry) -> bool:
    """Whether a key made a signature. A key for something else did not."""
    try:
        return validate_compact(signed, key, registry=registry)
    except (JoseError, ValueError):
        return False


def refuse_first(problems: Mapping[str, bool]) -> None:
    """Raises `Refused` for the first of the problems that is there."""
    for problem, is_there in problems.items():
        if is_there:
            raise Refused(problem)
