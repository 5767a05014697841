"""How many streams may be open, whatever becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from sessionledger.server.http.problems import HTTPProblem
from sessionledger.server.service.limits import StreamLimit, StreamSlot


async def stream(slot: StreamSlot) -> AsyncGenerator[bytes]:
    with slot:
        yield b"one"
        yield b"two"


def test_a_slot_is_taken_before_the_stream_begins_and_given_back_if_it_never_does() -> None:
    told: list[int] = []
    limit = StreamLimit(1, told.append)
    streaming = stream(limit.acquire())
    with pytest.raises(HTTPProblem):
        limit.acquire()
    del streaming
    assert told == [1, 0]


def test_a_slot_is_given_back_when_the_stream_ends() -> None:
    told: list[int] = []
    limit = StreamLimit(1, told.append)

    async def streaming() -> None:
        assert [part async for part in stream(limit.acquire())] == [b"one", b"two"]
        assert told == [1, 0]
        begun = stream(limit.acquire())
        await anext(begun)
        assert told == [1, 0, 1]
        await begun.aclose()

    asyncio.run(streaming())
    assert told == [1, 0, 1, 0]
