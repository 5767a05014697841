"""The keys of an identity provider: a JWK Set (RFC 7517), in a file or at an address.

1. A file is read each time. What an address answers is kept for ten minutes.
2. For a signature that no key made the address is asked again, but never sooner than 15 seconds
   after the last time. One thread asks, and others wait for it.
3. Not among the keys are secrets that both sides have, keys for another use, and short ones.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_network
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

import httpcore
import msgspec
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from sessionledger.egress.network import CheckedNetwork

KEEP_SECONDS = 600.0
ASK_AGAIN_SECONDS = 15.0
FETCH_SECONDS = 5.0
MAX_BYTES = 256 * 1024

Key: TypeAlias = RSAKey | ECKey | OKPKey
Keys: TypeAlias = tuple[Key, ...]

_LONG = "A" * 342  # 2048 bits in base64url


class KeysUnavailable(Exception):
    """The keys can't be had now. The text says why."""


class KeySource:
    """The keys at an address or in a file, for all threads of a process.

    networks: where an address may be beside the Internet. One without TLS has to be there.
    """

    # One for all of a process: greenlets of a thread can't run two event loops at once.
    _asking = threading.Lock()

    def __init__(self, place: str, networks: Iterable[str]) -> None:
        self._place, self._is_file = place, not place.startswith(("https://", "http://"))
        is_public = not place.startswith("http://")
        self._network = CheckedNetwork(networks=map(ip_network, networks), public=is_public)
        self._keys: Keys = ()
        self._asked = -inf

    def known(self, *, is_fresh: bool = False) -> Keys:
        """The keys; with `is_fresh` those of now, if it may ask. Raises `KeysUnavailable`."""
        # A process that was forked meanwhile would find it locked for ever.
        if not self._asking.acquire(timeout=2 * FETCH_SECONDS):
            raise KeysUnavailable("others wait for them")
        try:
            kept = ASK_AGAIN_SECONDS if is_fresh or not self._keys else KEEP_SECONDS
            if self._is_file or time.monotonic() - self._asked >= kept:
                self._asked, self._keys = time.monotonic(), ()
                self._keys = keys_in(self._document())
        except Exception as error:  # noqa: BLE001  whatever a server answers
            raise KeysUnavailable(f"{self._place}: {error!r}") from None
        finally:
            self._asking.release()
        if not self._keys:
            raise KeysUnavailable(f"{self._place} told no key that can be used")
        return self._keys

    def _document(self) -> bytes:
        return Path(self._place).read_bytes() if self._is_file else asyncio.run(self._fetch())

    async def _fetch(self) -> bytes:
        """What the address answers. No redirect is followed."""
        trusted, body = ssl.create_default_context(), b""
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpcore.AsyncConnectionPool(trusted, network_backend=self._network) as pool,
            pool.stream("GET", self._place) as answer,
        ):
            async for part in answer.aiter_stream():
                body += part
                if len(body) > MAX_BYTES:
                    raise ValueError(f"more than {MAX_BYTES} bytes")
        if answer.status != HTTPStatus.OK:
            raise ValueError(f"answered {answer.status}")
        return body


def keys_in(document: bytes) -> Keys:
    """The keys of a JWK Set that verify signatures. One that can't be read is left out."""
    found = msgspec.json.decode(document, type=dict[str, Any])["keys"]
    return tuple(key for one in found for key in _read(one))


def _read(given: dict[str, Any]) -> Keys:
    try:
        key = JWKRegistry.import_key(given)
        key.check_use("sig")
        key.check_key_op("verify")
        is_short = len(given.get("n", _LONG)) < len(_LONG)
    except Exception:  # noqa: BLE001  the others of the set are good all the same
        return ()
    return (key,) if isinstance(key, RSAKey | ECKey | OKPKey) and not is_short else ()
