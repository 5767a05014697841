"""nginx with a shared cache in front of any server of this machine: one for a whole test run.

It stores every answer that may be stored, also without being told for how long. Unlike RFC 9111 it
also stores what was asked with `Authorization`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import httpx

from tests.server.served import PATIENCE_SECONDS, free_port
from tests.servers import once, program, run_folder, serve

CACHE = """
proxy_cache_path cache keys_zone=pages:1m use_temp_path=off;
proxy_cache pages;
proxy_cache_valid 200 303 401 403 404 1h;
add_header X-Cache $upstream_cache_status always;
"""
"""What makes an nginx a shared cache."""
TEMPORARY = "".join(
    f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)
"""Where nginx keeps large bodies in a test's folder."""

_CONFIGURATION = f"""
error_log stderr notice;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    {TEMPORARY}
    {CACHE}
    server {{
        listen 127.0.0.1:PORT;
        location ~ ^/(?<port>[0-9]+)(?<rest>/.*)$ {{
            proxy_pass http://127.0.0.1:$port$rest$is_args$args;
        }}
    }}
}}
"""


def cached(port: int, path: str, headers: Iterable[tuple[str, str]] = ()) -> httpx.Response:
    """The answer to a GET of the server at a port, through the cache.

    Its header `X-Cache` is `HIT` where the cache gave it by itself.
    """
    url = f"http://127.0.0.1:{once('nginx', _start)}/{port}{path}"
    return httpx.get(url, headers=list(headers), timeout=PATIENCE_SECONDS)


def _start() -> str:
    port, folder = str(free_port()), run_folder() / "nginx"
    folder.mkdir()
    (folder / "nginx.conf").write_text(_CONFIGURATION.replace("PORT", port))
    command: list[str | Path] = [program("nginx"), "-p", ".", "-c", "nginx.conf", "-e", "stderr"]
    serve(folder, [*command, "-g", "daemon off;"], ready="start worker process")
    return port
