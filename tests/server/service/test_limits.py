"""How many streams may be open."""

from __future__ import annotations

import pytest

from sessionledger.server.http.problems import HTTPProblem
from sessionledger.server.service.limits import StreamLimit


def test_a_stream_more_than_allowed_is_refused_until_another_has_ended() -> None:
    counts: list[int] = []
    limit = StreamLimit(1, counts.append)
    limit.acquire()
    with pytest.raises(HTTPProblem, match="too_many_streams"):
        limit.acquire()
    limit.release()
    limit.acquire()
    assert counts == [1, 0, 1]
