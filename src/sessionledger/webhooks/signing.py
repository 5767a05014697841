"""Secrets and signatures, by the specification Standard Webhooks 1.0.0."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from hashlib import sha256
from os import urandom

__all__ = ["headers", "new_secret"]

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A symmetric secret: `whsec_` and 32 random bytes in base64."""
    return PREFIX + b64encode(urandom(SECRET_BYTES)).decode()


def headers(secret: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers that go with a body which is sent at a time, in seconds since 1970."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = hmac.new(b64decode(secret.removeprefix(PREFIX)), signed, sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{b64encode(signature).decode()}",
    }
