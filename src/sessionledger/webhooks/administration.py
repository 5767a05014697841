"""What an operator does with the endpoints of a ledger."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sessionledger import DocumentLog, Log, SessionStore
from sessionledger.webhooks.endpoint_file import endpoint_file
from sessionledger.webhooks.endpoints import (
    DEFAULT_TYPES,
    Endpoint,
    Endpoints,
    new_endpoint,
    succeeded,
)
from sessionledger.webhooks.shared_endpoints import SharedEndpoints

if TYPE_CHECKING:  # it takes an extra
    from sessionledger.webhooks.attempts import Attempt


def webhooks_of(log: Log, topic: str, given: str | Path | None = None) -> Webhooks | None:
    """The webhooks of a topic; None for a ledger without a place for them.

    given: the file of the endpoints, in the place of the ledger's own.
    """
    endpoints = endpoints_of(log, given)
    return None if endpoints is None else Webhooks(log, topic, endpoints)


class Webhooks:
    """The endpoints that are told what happens in a topic, and what can be done with them.

    Every call waits for the ledger or a file. An event loop makes it in a thread. It raises
    `UnsafeFile` or `SessionLedgerError` if the endpoints can't be read. What is asked of an
    endpoint that is not there answers None.
    """

    def __init__(self, log: Log, topic: str, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self.log = log
        self.topic = topic

    def list(self) -> tuple[Endpoint, ...]:
        """All endpoints, in the order they came."""
        return self.endpoints.read()

    def add(
        self,
        url: str,
        types: Iterable[str] = DEFAULT_TYPES,
        principals: Iterable[str] = (),
        *,
        allow: str | None = None,
        after: int | None = None,
        id: str | None = None,
    ) -> Endpoint:
        """Deliver to a URL what happens from now on, or after an event. It has a new secret.

        allow: as in `new_endpoint`. id: an id of the caller's. To add the same endpoint with the
        same id again replaces its secret. Raises `InvalidEndpoint` and `InvalidSession`.
        """
        endpoint = new_endpoint(url, types, principals, allow)
        if id is not None:
            endpoint = msgspec.structs.replace(endpoint, id=id)
        if self._found(endpoint.id) is None:
            # First, or a dispatcher would begin with the first event ever.
            self.log.ack(self.topic, endpoint.consumer, self._first_cursor(after))
        try:
            self.endpoints.add(endpoint)
        except BaseException:
            if self._found(endpoint.id) is None:
                forget_cursor(self.log, endpoint)
            raise
        return endpoint

    def enable(self, id: str) -> Endpoint | None:
        """Try an endpoint again at once, also a disabled one. It goes on where it was left."""
        return self.endpoints.record(id, succeeded)

    def test(self, id: str) -> Attempt | None:
        """Send an endpoint a message that is about no event. It needs the extra `webhooks`."""
        if (found := self._found(id)) is None:
            return None
        from sessionledger.webhooks.attempts import send_test

        return send_test(found)

    def remove(self, id: str) -> Endpoint | None:
        """Stop delivering to an endpoint, and forget its secret and its cursor."""
        removed = self.endpoints.remove(id)
        if removed is not None:
            forget_cursor(self.log, removed)
        return removed

    def _found(self, id: str) -> Endpoint | None:
        return next((one for one in self.list() if one.id == id), None)

    def _first_cursor(self, after: int | None) -> int:
        """The event to begin after. Raises `InvalidSession` where a watch could not begin."""
        with SessionStore(self.log, topic=self.topic) as store:
            if after is None:
                return store.head().id
            next(store.watch(after=after))
            return after


def forget_cursor(log: Log, endpoint: Endpoint) -> None:
    """Give up the cursor of an endpoint, which would hold back every compaction."""
    if (cursors := log.compactable()) is not None:
        for topic in log.topics():
            cursors.forget_cursor(topic, endpoint.consumer)


def endpoints_of(log: Log, given: str | Path | None = None) -> Endpoints | None:
    """The file that was given, or else those of the ledger; None for a ledger without a place."""
    if not given and isinstance(log, DocumentLog):
        return SharedEndpoints(log)
    location = Path(log.describe().location)
    return endpoint_file(location if location.is_absolute() else None, given)
