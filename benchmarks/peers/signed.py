"""Tokens that carry a signature and are stored nowhere: PyJWT, joserfc, itsdangerous, Starlette."""

from __future__ import annotations

import json
import secrets
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import msgspec

from benchmarks.peers.contender import SIGNED, TTL, VALIDATE, Peer, Place, claims, principal


@contextmanager
def peer(place: Place, variant: str) -> Iterator[Peer]:
    yield VARIANTS[variant](place)


def _tokens(place: Place, issue: Callable[[dict[str, Any]], str]) -> list[str]:
    return [issue(claims(principal(number), number)) for number in range(place.sessions)]


def _pyjwt(place: Place) -> Peer:
    import jwt

    secret, decode, algorithms = secrets.token_bytes(32), jwt.PyJWT().decode, ["HS256"]
    k = urlsafe_b64encode(secret).decode().rstrip("=")
    key = jwt.PyJWK.from_dict({"kty": "oct", "k": k, "alg": "HS256"})
    return Peer(
        name=f"PyJWT {version('pyjwt')}",
        version=f"PyJWT {version('pyjwt')}",
        promises=SIGNED,
        measured={VALIDATE: "`PyJWT().decode`, HS256, key prepared once; checks `exp`"},
        tokens=_tokens(place, lambda body: str(jwt.encode(body, secret, "HS256"))),
        validate=lambda token: decode(token, key, algorithms),
        whose=lambda body: str(body["sub"]),
        refusals=(jwt.InvalidTokenError,),
    )


def _joserfc(place: Place) -> Peer:
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import OctKey

    key = OctKey.import_key(secrets.token_bytes(32))
    registry = jwt.JWTClaimsRegistry(exp={"essential": True})
    algorithms, header = ["HS256"], {"alg": "HS256"}

    def validate(token: str) -> Any:
        body = jwt.decode(token, key, algorithms).claims
        registry.validate(body)
        return body

    return Peer(
        name="joserfc",
        version=f"joserfc {version('joserfc')}",
        promises=SIGNED,
        measured={VALIDATE: "`jwt.decode` and `JWTClaimsRegistry.validate`, HS256, key imported"},
        tokens=_tokens(place, lambda body: str(jwt.encode(header, body, key))),
        validate=validate,
        whose=lambda body: str(body["sub"]),
        refusals=(JoseError, ValueError),
    )


class _Json:
    """The fastest serializer that itsdangerous takes."""

    loads = staticmethod(msgspec.json.Decoder().decode)
    dumps = staticmethod(msgspec.json.Encoder().encode)


def _itsdangerous(place: Place) -> Peer:
    from itsdangerous import BadData, URLSafeTimedSerializer
    from itsdangerous.encoding import want_bytes

    serializer = URLSafeTimedSerializer(secrets.token_hex(32), serializer=_Json())
    return Peer(
        name="itsdangerous",
        version=f"itsdangerous {version('itsdangerous')}",
        promises=SIGNED,
        measured={VALIDATE: "`URLSafeTimedSerializer.loads(token, max_age)`, JSON by msgspec"},
        tokens=_tokens(place, lambda body: want_bytes(serializer.dumps(body)).decode()),
        validate=lambda token: serializer.loads(token, max_age=TTL),
        whose=lambda body: str(body["sub"]),
        refusals=(BadData,),
    )


def _starlette(place: Place) -> Peer:
    from itsdangerous import BadSignature
    from starlette.middleware.sessions import Session, SessionMiddleware

    nothing: Any = None
    signer = SessionMiddleware(nothing, secrets.token_hex(32)).signer

    def validate(cookie: str) -> Any:
        return Session(json.loads(b64decode(signer.unsign(cookie.encode(), max_age=TTL))))

    def issue(body: dict[str, Any]) -> str:
        return str(signer.sign(b64encode(json.dumps(body).encode())).decode())

    return Peer(
        name="Starlette, signed cookie",
        version=f"Starlette {version('starlette')}",
        promises=SIGNED,
        measured={VALIDATE: "what `SessionMiddleware` does with a cookie that is parsed already"},
        tokens=_tokens(place, issue),
        validate=validate,
        whose=lambda body: str(body["sub"]),
        refusals=(BadSignature,),
    )


VARIANTS: dict[str, Callable[[Place], Peer]] = {
    "pyjwt": _pyjwt,
    "joserfc": _joserfc,
    "itsdangerous": _itsdangerous,
    "starlette": _starlette,
}
