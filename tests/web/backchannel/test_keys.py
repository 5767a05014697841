"""Keys of a provider, from a real server that behaves well or badly."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from sessionledger.web.backchannel import keys
from sessionledger.web.backchannel.keys import KeySource, KeysUnavailable, keys_in
from tests.web.backchannel.providing import EC, ED, ENCRYPTING, RSA, all_keys, jwks, key
from tests.web.backchannel.publishing import Publisher

LOOPBACK = ("127.0.0.0/8",)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher().running() as publisher:
        publisher.document = jwks(key("first"))
        yield publisher


def names(source: KeySource, **told: bool) -> list[str | None]:
    return [one.kid for one in source.known(**told)]


def test_keys_of_a_file_are_read_each_time(tmp_path: Path) -> None:
    place = tmp_path / "jwks.json"
    source = KeySource(str(place), ())
    with pytest.raises(KeysUnavailable, match=r"jwks\.json"):
        source.known()
    for kid in ("first", "second"):
        place.write_bytes(jwks(key(kid)))
        assert names(source) == [kid]


def test_keys_of_an_address_are_kept(publisher: Publisher) -> None:
    source = KeySource(publisher.url(), LOOPBACK)
    for _ in range(3):
        assert names(source) == ["first"]
    assert publisher.asked == ["/jwks"]


def test_kept_keys_become_old(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    source = KeySource(publisher.url(), LOOPBACK)
    assert names(source) == ["first"]
    publisher.document = jwks(key("second"))
    assert names(source) == ["first"]
    monkeypatch.setattr(keys, "KEEP_SECONDS", 0)
    assert names(source) == ["second"]


def test_new_keys_are_asked_for_at_a_bounded_rate(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = KeySource(publisher.url(), LOOPBACK)
    assert names(source) == ["first"]
    publisher.document = jwks(key("second"))
    assert [names(source, is_fresh=True) for _ in range(5)] == [["first"]] * 5
    assert len(publisher.asked) == 1
    monkeypatch.setattr(keys, "ASK_AGAIN_SECONDS", 0)
    assert names(source, is_fresh=True) == ["second"]
    assert len(publisher.asked) == 2


def test_a_failure_counts_as_asking_too(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no older keys are taken, which the provider may have given up."""
    source = KeySource(publisher.url(), LOOPBACK)
    assert names(source) == ["first"]
    publisher.status = 503
    monkeypatch.setattr(keys, "KEEP_SECONDS", 0)
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            source.known()
    assert len(publisher.asked) == 2


def test_many_threads_ask_once(publisher: Publisher) -> None:
    source, told = KeySource(publisher.url(), LOOPBACK), list[list[str | None]]()
    publisher.may_answer.clear()
    threads = [threading.Thread(target=lambda: told.append(names(source))) for _ in range(5)]
    for thread in threads:
        thread.start()
    publisher.is_asked.wait()
    publisher.may_answer.set()
    for thread in threads:
        thread.join()
    assert (told, len(publisher.asked)) == ([["first"]] * 5, 1)


def test_nobody_waits_for_ever_for_others(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a process that was forked while another thread asked."""
    source = KeySource(publisher.url(), LOOPBACK)
    monkeypatch.setattr(keys, "FETCH_SECONDS", 0.001)
    with source._asking, pytest.raises(KeysUnavailable, match="others wait"):
        source.known()
    assert publisher.asked == []


GREENLETS = """
from gevent import monkey; monkey.patch_all()
import sys, gevent
from sessionledger.web.backchannel.keys import KeySource

one, other = (KeySource(url, ["127.0.0.0/8"]) for url in sys.argv[1:])
asking = [gevent.spawn(source.known) for source in (one, one, other, other)]
print([key.kid for job in gevent.joinall(asking, timeout=20) for key in job.get()])
"""


@pytest.mark.middle
def test_greenlets_ask_as_threads_do(publisher: Publisher) -> None:
    command = [sys.executable, "-W", "error", "-c", GREENLETS]
    urls = (publisher.url(), publisher.url("localhost"))
    ran = subprocess.run([*command, *urls], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("['first', 'first', 'first', 'first']\n", "")
    assert len(publisher.asked) == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
def test_a_private_address_is_refused(publisher: Publisher, host: str) -> None:
    for networks in ((), ("10.0.0.0/8", "::1/128")):
        with pytest.raises(KeysUnavailable, match="no public address"):
            KeySource(publisher.url(host), networks).known()
    assert publisher.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_address_is_asked_in_a_network_that_is_allowed(
    publisher: Publisher, host: str
) -> None:
    assert names(KeySource(publisher.url(host), ("10.0.0.0/8", *LOOPBACK))) == ["first"]


def test_without_tls_no_public_address_is_asked() -> None:
    for networks in ((), LOOPBACK):
        with pytest.raises(KeysUnavailable, match="no public address"):
            KeySource("http://93.184.215.14/jwks", networks).known()


def test_tls_is_insisted_on(publisher: Publisher) -> None:
    """A server without TLS gets no request at an address that is `https`."""
    address = publisher.url().replace("http://", "https://")
    with pytest.raises(KeysUnavailable):
        KeySource(address, LOOPBACK).known()
    assert publisher.asked == []


def test_no_redirect_is_followed(publisher: Publisher) -> None:
    publisher.redirect = "/elsewhere"
    with pytest.raises(KeysUnavailable, match="answered 302"):
        KeySource(publisher.url(), LOOPBACK).known()
    assert publisher.asked == ["/jwks"]


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_only_200_is_an_answer(publisher: Publisher, status: int) -> None:
    publisher.status = status
    with pytest.raises(KeysUnavailable, match=f"answered {status}"):
        KeySource(publisher.url(), LOOPBACK).known()


def test_an_answer_is_bounded_in_size(publisher: Publisher) -> None:
    publisher.document = jwks(key("first")) + b" " * (keys.MAX_BYTES + 1)
    with pytest.raises(KeysUnavailable, match="more than 262144 bytes"):
        KeySource(publisher.url(), LOOPBACK).known()


def test_an_answer_is_bounded_in_time(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "FETCH_SECONDS", 0.1)
    publisher.may_answer.clear()
    with pytest.raises(KeysUnavailable, match="TimeoutError"):
        KeySource(publisher.url(), LOOPBACK).known()


def test_a_server_that_is_gone_is_said(publisher: Publisher) -> None:
    with Publisher().running() as gone:
        pass
    with pytest.raises(KeysUnavailable, match="ConnectError"):
        KeySource(gone.url(), LOOPBACK).known()


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":1}', b"\xff", b"[" * 100_000],
    ids=lambda document: str(document[:12]),
)
def test_what_is_no_set_of_keys_is_said(tmp_path: Path, document: bytes) -> None:
    (tmp_path / "jwks.json").write_bytes(document)
    with pytest.raises(KeysUnavailable):
        KeySource(str(tmp_path / "jwks.json"), ()).known()


def test_keys_for_something_else_and_short_ones_are_left_out() -> None:
    told = [one.as_dict(private=False) for one in all_keys().values()]
    with pytest.warns(match="2048"):
        short = RSAKey.generate_key(1024, {"kid": "short"}).as_dict(private=False)
    odd: list[Any] = [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "secret"},
        {"kty": "later", "kid": "later"},
        {"kty": "EC", "crv": "P-1", "x": "AA", "y": "AA"},
        {"kty": "RSA", "n": 5, "e": "AQAB"},
        {"kid": "none"},
        {},
        "text",
        None,
    ]
    with pytest.warns(match="2048"):
        found = keys_in(json.dumps({"keys": [short, *odd, *told]}).encode())
    assert [one.kid for one in found] == [RSA, EC, ED, "other algorithm"]
    assert ENCRYPTING not in {one.kid for one in found}
