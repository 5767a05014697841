"""Real gateways, each with its configuration of docs/gateways.md.

Behind them is an application that answers what it was asked.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from sessionledger.testing.fixtures import until
from tests.caching_proxy import TEMPORARY
from tests.server.served import PATIENCE_SECONDS, free_port
from tests.servers import program

PAGE = Path(__file__).parents[3] / "docs" / "gateways.md"
_BLOCK = re.compile(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES: dict[str, str] = dict(_BLOCK.findall(PAGE.read_text()))
"""The files that the page gives, by their names."""

COMMANDS: dict[str, Callable[[], list[str]]] = {
    "nginx": lambda: [
        *(program("nginx"), "-p", ".", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;")
    ],
    "caddy": lambda: [program("caddy"), "run", "--config", "Caddyfile"],
    "traefik": lambda: [program("traefik"), "--configfile=traefik.yml"],
    "envoy": lambda: [
        *(program("envoy"), "-c", "envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1")
    ],
    "haproxy": lambda: [program("haproxy"), "-db", "-f", "haproxy.cfg"],
}
"""How each gateway is started in a folder with those files."""

# What an operator has in files of the system, and a test in its folder.
_ABOVE = {
    "nginx.conf": "pid nginx.pid;\n",
    "Caddyfile": "{\n\tadmin off\n\tpersist_config off\n}\n",
}


class Gateway:
    """A gateway that runs, and requests to it."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.address = ("127.0.0.1", port)
        self.origin = f"http://127.0.0.1:{port}"

    def __call__(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]] | dict[str, str] = {},  # noqa: B006  is not changed
        content: bytes = b"",
        by: str = "127.0.0.1",
    ) -> httpx.Response:
        """The answer to one request, on a connection of its own. by: the address of the client."""
        transport = httpx.HTTPTransport(local_address=by)
        with httpx.Client(
            base_url=self.origin, timeout=PATIENCE_SECONDS, transport=transport
        ) as client:
            return client.request(method, path, headers=headers, content=content)


@contextmanager
def running(
    name: str, folder: Path, service: int, application: int, http: str = "", idle: str = "60s"
) -> Iterator[Gateway]:
    """A gateway before an application, which asks a service; both by their ports.

    http: what nginx is told beside the page. idle: how long Envoy keeps a connection, 60s there.
    """
    port = free_port()
    ports = {"8420": str(service), "9000": str(application), "8080": str(port)}
    folder.mkdir()
    for file, text in FILES.items():
        placed = re.sub(r"\b(8420|9000|8080)\b", lambda found: ports[found[1]], text)
        placed = placed.replace("http {\n", f"http {{\naccess_log off;\n{TEMPORARY}\n{http}", 1)
        placed = placed.replace("idle_timeout: 60s", f"idle_timeout: {idle}")
        (folder / file).write_text(_ABOVE.get(file, "") + placed)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(COMMANDS[name](), cwd=folder, stdout=log, stderr=log)
    try:
        until(lambda: _passes(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield Gateway(name, port)
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _passes(port: int) -> bool:
    """Whether it has read its configuration: Traefik does that after it listens."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/login").status_code not in (404, 502, 503)
    except httpx.TransportError:
        return False


class _Application(BaseHTTPRequestHandler):
    """Answers what it was asked, and repeats the bytes that come by a WebSocket."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._repeat()
            return
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"path": self.path, "headers": self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _repeat(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", b64encode(sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.wfile.write(self.rfile.read(11))
        self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is logged."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A gateway may hang up whenever it likes."""


@contextmanager
def application() -> Iterator[int]:
    """The port of an application that answers what it was asked."""
    server = _Server(("127.0.0.1", 0), _Application)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_SECONDS)
