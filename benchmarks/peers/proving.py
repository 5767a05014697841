"""Before time is taken: that a peer's calls do what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.peers.contender import EACH, Peer, Place, principal


def prove(peer: Peer, place: Place, doomed: Iterator[str]) -> None:
    """Raises where a token is taken for another's, a forged or ended one is accepted, or a listing
    shows what it should not."""
    if peer.validate is not None:
        _validates(peer, place)
    if peer.create is not None:
        owner = place.newcomers[0]
        token = _done(peer, peer.create(owner))
        assert peer.validate is None or _owner(peer, token) == owner, "what was created"
        if peer.end is not None:
            _done(peer, peer.end(token))
            assert _owner(peer, token) is None, "an ended session was accepted"
    if peer.create_batch is not None:
        _done(peer, peer.create_batch(place.newcomers[:2]))
    if peer.listing is not None:
        assert len(_done(peer, peer.listing(place.principals[-1]))) == EACH, "what is listed"
    if peer.revoke is not None:
        _revokes(peer, place, next(doomed))


def _validates(peer: Peer, place: Place) -> None:
    assert len(peer.tokens) == place.sessions
    for number in (0, place.sessions // 2, place.sessions - 1):
        assert _owner(peer, peer.tokens[number]) == principal(number)
    token = peer.tokens[0]
    forged = token[:9] + ("B" if token[9] == "A" else "A") + token[10:]
    assert _owner(peer, forged) is None, "a forged token was accepted"


def _revokes(peer: Peer, place: Place, owner: str) -> None:
    assert peer.revoke is not None
    _done(peer, peer.revoke(owner))
    if peer.validate is not None:
        first = place.principals.index(owner) * EACH
        ended = peer.tokens[first : first + EACH]
        assert not any(_owner(peer, token) for token in ended), "a revoked session was accepted"
    if peer.listing is not None:
        assert not _done(peer, peer.listing(owner)), "a revoked session is listed"


def _owner(peer: Peer, token: str) -> str | None:
    assert peer.validate is not None
    assert peer.whose is not None
    try:
        found = _done(peer, peer.validate(token))
    except peer.refusals:
        return None
    return peer.whose(found) if found else None


def _done(peer: Peer, answer: Any) -> Any:
    return answer if peer.loop is None else peer.loop.run(answer)
