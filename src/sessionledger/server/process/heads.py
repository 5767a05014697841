"""Heads that come again, byte for byte, on the connection where they came before.

A client that asks about one token after another sends the same head each time, and another body of
the same length. What such a head says is known without parsing it again, and where its request
ends: right after as many bytes.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import NamedTuple

from sessionledger.server.fast_path import Arrived, Prompt
from sessionledger.web.credentials import RawHeaders

_END = b"\r\n\r\n"


class Head(NamedTuple):
    """A head as it came, and as it was read. size: in bytes, of the whole request."""

    head: bytes
    size: int
    asked: Prompt
    method: str
    path: str
    headers: RawHeaders

    def of(self, data: bytes) -> Arrived | None:
        """What these bytes ask, if they are a request with this head and nothing else."""
        if len(data) != self.size:
            return None
        end = len(self.head)
        # There are credentials in it, and others may send over this connection, through a proxy.
        if not compare_digest(data[:end], self.head):
            return None
        return Arrived(self.method, self.path, self.headers, data[end:])


def head_of(data: bytes, asked: Prompt, call: Arrived) -> Head | None:
    """The head of a call that was read from these bytes on, if it has a body and they are no more
    than the two. A head alone says whose it is, and mostly another one's the next time."""
    if not call.content:
        return None
    end = data.find(_END) + len(_END)
    if end + len(call.content) != len(data):
        return None
    return Head(data[:end], len(data), asked, call.method, call.path, call.headers)
