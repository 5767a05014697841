"""An identity provider: its keys, and logout tokens that are right, or wrong in one way."""

from __future__ import annotations

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from joserfc import jwe, jws
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from sessionledger.web.backchannel.logout_token import EVENT
from sessionledger.web.backchannel.receiver import FORM, Provider

ISSUER, CLIENT = "https://id.test", "app"
LEFT_OUT: Any = "<left out>"
JSON = dict[str, Any]

RSA, EC, ED = "rsa", "ec", "ed"
# Of the provider as well, but not for signatures by RS256.
ENCRYPTING, OTHER_ALGORITHM, OTHER_OPERATION = "encrypting", "other algorithm", "other operation"


@cache
def key(kid: str, kind: str = "RSA", size: str | int = 2048, **more: str | tuple[str]) -> Any:
    parameters: JSON = {"kid": kid, **more}
    if "key_ops" in parameters:
        parameters["key_ops"] = [*parameters["key_ops"]]
    classes: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    return classes[kind].generate_key(size, parameters)


def all_keys() -> dict[str, Key]:
    return {
        RSA: key(RSA),
        EC: key(EC, "EC", "P-256"),
        ED: key(ED, "OKP", "Ed25519"),
        ENCRYPTING: key(ENCRYPTING, use="enc"),
        OTHER_ALGORITHM: key(OTHER_ALGORITHM, alg="RS384"),
        OTHER_OPERATION: key(OTHER_OPERATION, key_ops=("encrypt",)),
    }


def jwks(*keys: Key) -> bytes:
    """What a provider publishes: no private part."""
    return json.dumps(KeySet(list(keys or all_keys().values())).as_dict(private=False)).encode()


def provider(folder: Path, **changed: Any) -> Provider:
    """The settings of a provider whose keys are in a file."""
    place = folder / "jwks.json"
    place.write_bytes(jwks())
    told = {"issuer": ISSUER, "audiences": (CLIENT,), "jwks": str(place), "principal": "{sub}"}
    return Provider(**(told | changed))


def claims(**changed: Any) -> JSON:
    now = int(time.time())
    told: JSON = {
        "iss": ISSUER,
        "aud": CLIENT,
        "iat": now,
        "exp": now + 120,
        "jti": uuid4().hex,
        "events": {EVENT: {}},
        "sub": "alice",
    }
    told |= {name: value(now) if callable(value) else value for name, value in changed.items()}
    return {name: value for name, value in told.items() if value is not LEFT_OUT}


def header(**changed: Any) -> JSON:
    told = {"alg": "RS256", "kid": RSA, "typ": "logout+jwt"} | changed
    return {name: value for name, value in told.items() if value is not LEFT_OUT}


def signed(
    payload: JSON | bytes | None = None, told: JSON | None = None, by: Key | None = None
) -> str:
    """A token. by: the key, that of the provider if none is given."""
    told = header() if told is None else told
    text = payload if isinstance(payload, bytes) else json.dumps(payload or claims()).encode()
    registry = jws.JWSRegistry(algorithms=[*jws.JWSRegistry.algorithms], strict_check_header=False)
    return jws.serialize_compact(told, text, by or key(RSA), registry=registry)


def logout_token(**changed: Any) -> str:
    return signed(claims(**changed))


def encoded(part: JSON | bytes) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(
    told: JSON | bytes, payload: JSON | bytes, signature: bytes | Callable[[bytes], bytes]
) -> str:
    """A token that no library would make."""
    signing = f"{encoded(told)}.{encoded(payload)}"
    made = signature if isinstance(signature, bytes) else signature(signing.encode())
    return f"{signing}.{encoded(made)}"


def made_by_rsa(told: JSON | bytes, payload: JSON | bytes | None = None) -> str:
    """A header that no library would write, under a good signature."""
    model = jws.JWSRegistry.algorithms["RS256"]
    return by_hand(told, payload or claims(), lambda text: model.sign(text, key(RSA)))


def hmac_by(secret: bytes) -> str:
    def sign(text: bytes) -> bytes:
        return hmac.new(secret, text, sha256).digest()

    return by_hand(header(alg="HS256"), claims(), sign)


def changed_after() -> str:
    """Another subject under the signature of the first."""
    first, _, signature = logout_token().split(".")
    return f"{first}.{encoded(claims(sub='bob'))}.{signature}"


def encrypted() -> str:
    told = {"alg": "RSA-OAEP", "enc": "A128GCM", "kid": ENCRYPTING, "cty": "JWT"}
    return jwe.encrypt_compact(told, logout_token(), key(ENCRYPTING, use="enc"))


def form(token: str) -> bytes:
    return urlencode({"logout_token": token}).encode()


NO_TOKEN = "it is not a signed token"
ALGORITHM = "its algorithm is not allowed"
NO_KEY = "no key of the provider made its signature"
EXTENSIONS = "its header names extensions, and none is understood"
TYPE = "its typ is not logout+jwt"
OTHER_ISSUER = "another provider issued it"
OTHER_APPLICATION = "it is for another application"
FUTURE, PAST = "it was issued in the future", "it was issued too long ago"
EXPIRED, EARLY = "it is expired", "it is not valid yet"
NO_LOGOUT = "its events are not a logout"
NONCE = "it has a nonce, as ID tokens have"
NOBODY = "it has neither sub nor sid"
NOT_IN_A_FORM = "it must be in a form of 32768 bytes at most, once"


def lacking(name: str) -> str:
    return f"its claims: Object missing required field `{name}`"


def misfit(name: str, wanted: str, got: str) -> str:
    return f"its claims: Expected `{wanted}`, got `{got}` - at `$.{name}`"


WRONG: dict[str, tuple[Callable[[], str], str]] = {
    # The form of a token, and its signature
    "no token": (lambda: "x", NO_TOKEN),
    "two parts": (lambda: logout_token().rpartition(".")[0], NO_TOKEN),
    "four parts": (lambda: f"{logout_token()}.AAAA", NO_TOKEN),
    "encrypted": (encrypted, NO_TOKEN),
    "a header that is no JSON": (lambda: made_by_rsa(b"{"), NO_TOKEN),
    "a header that is a list": (lambda: made_by_rsa(b'["alg"]'), NO_TOKEN),
    "a header that is a text": (lambda: made_by_rsa(b'"alg"'), NO_TOKEN),
    "no algorithm": (lambda: made_by_rsa(header(alg=LEFT_OUT)), NO_TOKEN),
    "an algorithm that is a list": (lambda: made_by_rsa(header(alg=["RS256"])), NO_TOKEN),
    "padding": (lambda: f"{logout_token()}==", NO_KEY),
    "the algorithm none": (lambda: by_hand(header(alg="none"), claims(), b""), ALGORITHM),
    "the algorithm None": (lambda: by_hand(header(alg="None"), claims(), b""), ALGORITHM),
    "none, and a good signature": (lambda: made_by_rsa(header(alg="none")), ALGORITHM),
    "HMAC by the public key": (lambda: hmac_by(key(RSA).as_pem()), ALGORITHM),
    "HMAC by the published keys": (lambda: hmac_by(jwks()), ALGORITHM),
    "an algorithm that is not allowed": (lambda: signed(told=header(alg="PS256")), ALGORITHM),
    "an unknown algorithm": (lambda: made_by_rsa(header(alg="RS257")), ALGORITHM),
    "another key by the same name": (lambda: signed(by=key("thief")), NO_KEY),
    "a kid of nobody": (lambda: signed(told=header(kid="thief"), by=key("thief")), NO_KEY),
    "a kid of another key": (lambda: signed(told=header(kid=EC)), NO_KEY),
    "a kid that is a number": (lambda: made_by_rsa(header(kid=1)), NO_TOKEN),
    "no kid": (
        lambda: signed(told=header(kid=LEFT_OUT)),
        "it has no kid, and the provider has several keys",
    ),
    "a key for encryption": (
        lambda: signed(told=header(kid=ENCRYPTING), by=key(ENCRYPTING)),
        NO_KEY,
    ),
    "a key for another algorithm": (
        lambda: signed(told=header(kid=OTHER_ALGORITHM), by=key(OTHER_ALGORITHM)),
        NO_KEY,
    ),
    "a key for another operation": (
        lambda: signed(told=header(kid=OTHER_OPERATION), by=key(OTHER_OPERATION)),
        NO_KEY,
    ),
    "a key of its own": (
        lambda: signed(told=header(kid="thief", jwk={"kty": "RSA", "n": "AQ"}), by=key("thief")),
        NO_KEY,
    ),
    "an address of its own keys": (
        lambda: signed(told=header(kid="thief", jku="https://thief.test"), by=key("thief")),
        NO_KEY,
    ),
    "no signature": (lambda: logout_token().rpartition(".")[0] + ".", NO_KEY),
    "half a signature": (lambda: logout_token()[:-100], NO_KEY),
    "claims that were changed": (changed_after, NO_KEY),
    "a header that was changed": (
        lambda: f"{encoded(header(typ='JWT'))}.{logout_token().partition('.')[2]}",
        NO_KEY,
    ),
    # The header
    "an extension": (lambda: made_by_rsa(header(crit=["exp"], exp=1)), EXTENSIONS),
    "an extension that is not there": (lambda: made_by_rsa(header(crit=["exp"])), EXTENSIONS),
    "a payload as it is": (lambda: signed(told=header(b64=False, crit=["b64"])), EXTENSIONS),
    "a payload that is encoded": (lambda: made_by_rsa(header(b64=True, crit=["b64"])), EXTENSIONS),
    "a payload as it is, untold": (lambda: made_by_rsa(header(b64=False)), NO_TOKEN),
    "no extension, but named": (lambda: made_by_rsa(header(crit=[])), EXTENSIONS),
    "the type of access tokens": (lambda: signed(told=header(typ="at+jwt")), TYPE),
    "the type of security events": (lambda: signed(told=header(typ="secevent+jwt")), TYPE),
    "an empty type": (lambda: signed(told=header(typ="")), TYPE),
    "a type that is a number": (lambda: made_by_rsa(header(typ=1)), NO_TOKEN),
    # The claims
    "claims that are no JSON": (lambda: signed(b"{"), "its claims: no JSON"),
    "claims that are no text": (lambda: signed(b'{"iss":"\xff"}'), "its claims: no JSON"),
    "claims that nest deep": (lambda: signed(b'{"nonce":' + b"[" * 9000), "its claims: no JSON"),
    "claims that are a list": (lambda: signed(b"[]"), "its claims: Expected `object`, got `array`"),
    "no issuer": (lambda: logout_token(iss=LEFT_OUT), lacking("iss")),
    "another issuer": (lambda: logout_token(iss="https://thief.test"), OTHER_ISSUER),
    "an issuer with a slash": (lambda: logout_token(iss=f"{ISSUER}/"), OTHER_ISSUER),
    "two issuers": (lambda: logout_token(iss=[ISSUER]), misfit("iss", "str", "array")),
    "no audience": (lambda: logout_token(aud=LEFT_OUT), lacking("aud")),
    "another audience": (lambda: logout_token(aud="other"), OTHER_APPLICATION),
    "another audience, too": (lambda: logout_token(aud=[CLIENT, "other"]), OTHER_APPLICATION),
    "an empty audience": (lambda: logout_token(aud=[]), OTHER_APPLICATION),
    "no time": (lambda: logout_token(iat=LEFT_OUT), lacking("iat")),
    "a time that is a text": (
        lambda: logout_token(iat=lambda now: str(now)),
        misfit("iat", "float", "str"),
    ),
    "a time that is true": (lambda: logout_token(iat=True), misfit("iat", "float", "bool")),
    "issued in the future": (lambda: logout_token(iat=lambda now: now + 75), FUTURE),
    "issued long ago": (lambda: logout_token(iat=lambda now: now - 661), PAST),
    "no end": (lambda: logout_token(exp=LEFT_OUT), lacking("exp")),
    "no end, but named": (lambda: logout_token(exp=None), misfit("exp", "float", "null")),
    "expired": (lambda: logout_token(exp=lambda now: now - 61), EXPIRED),
    "not valid yet": (lambda: logout_token(nbf=lambda now: now + 75), EARLY),
    "no name": (lambda: logout_token(jti=LEFT_OUT), lacking("jti")),
    "an empty name": (
        lambda: logout_token(jti=""),
        "its claims: Expected `str` of length >= 1 - at `$.jti`",
    ),
    "a name that is a number": (lambda: logout_token(jti=1), misfit("jti", "str", "int")),
    "no events": (lambda: logout_token(events=LEFT_OUT), lacking("events")),
    "events in a list": (lambda: logout_token(events=[EVENT]), misfit("events", "object", "array")),
    "another event": (lambda: logout_token(events={f"{EVENT}s": {}}), NO_LOGOUT),
    "an event that is true": (lambda: logout_token(events={EVENT: True}), NO_LOGOUT),
    "an event that is null": (lambda: logout_token(events={EVENT: None}), NO_LOGOUT),
    "a nonce": (lambda: logout_token(nonce="n"), NONCE),
    "a nonce that is null": (lambda: logout_token(nonce=None), NONCE),
    "nobody": (lambda: logout_token(sub=LEFT_OUT), NOBODY),
    "a subject that is null": (lambda: logout_token(sub=None), misfit("sub", "str", "null")),
    "an empty subject": (
        lambda: logout_token(sub="", sid="s"),
        "its claims: Expected `str` of length >= 1 - at `$.sub`",
    ),
    "a subject that is long": (
        lambda: logout_token(sub="a" * 256),
        "its claims: Expected `str` of length <= 255 - at `$.sub`",
    ),
    "an empty sid": (
        lambda: logout_token(sid=""),
        "its claims: Expected `str` of length >= 1 - at `$.sid`",
    ),
    "a sid that is a list": (lambda: logout_token(sid=["s"]), misfit("sid", "str", "array")),
}

WRONG_FORMS: dict[str, tuple[str | None, Callable[[], bytes]]] = {
    "no media type": (None, lambda: form(logout_token())),
    "another media type": ("application/jwt", lambda: form(logout_token())),
    "a media type that begins alike": (f"{FORM}s", lambda: form(logout_token())),
    "no token": (FORM, lambda: b"token=x"),
    "nothing": (FORM, lambda: b""),
    "an empty token": (FORM, lambda: b"logout_token="),
    "two tokens": (FORM, lambda: form(logout_token()) + b"&" + form(logout_token())),
    "a token twice": (FORM, lambda: b"&".join([form(logout_token())] * 2)),
    "too large": (FORM, lambda: form(logout_token()) + b"&a=" + b"a" * 32768),
    "too many": (FORM, lambda: form(logout_token()) + b"&a" * 100),
    "no text": (FORM, lambda: form(logout_token()) + b"&a=\xff"),
}
