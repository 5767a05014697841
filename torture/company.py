"""Who else uses a ledger while it is compacted: a reader behind it, webhooks, and maintenance.

Each raises an error that is not the package's if it is told something that can't be. The journal
notes it, and the checker says so.
"""

from __future__ import annotations

import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec

from sessionledger import CaughtUp, HistoryCut, LogUnavailable, SessionStore, open_log
from sessionledger.webhooks.dispatcher import deliver_to_all
from sessionledger.webhooks.endpoint_file import EndpointFile
from sessionledger.webhooks.endpoints import new_endpoint
from torture.journal import Recorder
from torture.ledger import POLICY
from torture.processes import Work
from torture.writer import RETENTION

TOPIC = "orchestrator.sessions"
PAUSE_SECONDS = 0.05
TOLD = {
    "session_created", "session_touched", "session_expired", "everybody_revoked",
    "selection_revoked",
}  # fmt: skip


def tailing(url: str) -> Work:
    """Reads what happens from the beginning, and goes on behind the cut if it was too slow."""

    def work(recorder: Recorder, rng: random.Random) -> None:
        after = 0
        with SessionStore.open(url, policy=POLICY) as store:
            while True:
                time.sleep(rng.random() * PAUSE_SECONDS)
                with recorder.call("tail") as answer:
                    after, count = _read_on(store, after)
                    answer.done(count)

    return work


def _read_on(store: SessionStore, after: int) -> tuple[int, int]:
    """The last event that was told, and how many those were."""
    count = 0
    try:
        for told in store.watch(after=after):
            if isinstance(told, CaughtUp):
                return told.cursor, count
            if told.event_id <= after or told.kind not in TOLD:
                raise AssertionError(f"{told.kind} {told.event_id} was told after {after}")
            after, count = told.event_id, count + 1
    except HistoryCut as error:
        if error.cut <= after:
            raise AssertionError(f"event {after} was read, and a cut at {error.cut}") from error
        after = error.cut
    return after, count


def maintaining(url: str) -> Work:
    """Another process that maintains the ledger, round after round."""

    def work(recorder: Recorder, rng: random.Random) -> None:
        with SessionStore.open(url, policy=POLICY) as store:
            while True:
                time.sleep(rng.random() * PAUSE_SECONDS)
                with recorder.call("maintain") as answer:
                    store.maintain(retention=RETENTION)
                    answer.done()

    return work


def delivering(url: str, folder: Path) -> Work:
    """Delivers webhooks to an address in the same process, which looks at their order."""

    def work(recorder: Recorder, _: random.Random) -> None:
        server = _Receiver(recorder)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = EndpointFile(folder / "endpoints")
        endpoint = new_endpoint(f"http://127.0.0.1:{server.server_port}/", allow="127.0.0.1")
        log = open_log(url)
        log.ack(TOPIC, endpoint.consumer, log.latest(TOPIC))
        file.add(endpoint)
        deliver_to_all(log, TOPIC, file, _only_outages)

    return work


def _only_outages(error: Exception) -> None:
    if not isinstance(error, LogUnavailable):
        raise TypeError(f"webhooks were told {error!r}")


class _Receiver(ThreadingHTTPServer):
    """Takes messages, and notes each. Their events come in order, and no compaction is one."""

    daemon_threads = True

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.recorder = recorder
        self.newest = 0


class _Handler(BaseHTTPRequestHandler):
    server: _Receiver

    def do_POST(self) -> None:
        body = msgspec.json.decode(self.rfile.read(int(self.headers["content-length"])))
        data, server = body["data"], self.server
        with server.recorder.call("deliver") as answer:
            if data["event_id"] <= server.newest or data["kind"] not in TOLD:
                raise AssertionError(f"{data} was delivered after event {server.newest}")
            server.newest = data["event_id"]
            answer.done(1)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""
