"""The service on a PostgreSQL ledger, by several workers."""

from __future__ import annotations

from pathlib import Path

import httpx

from sessionledger import SessionStore
from tests import postgres_server
from tests.server.served import PATIENCE_SECONDS, Served, command

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_sessions_begin_are_told_of_and_end_for_all_workers(tmp_path: Path) -> None:
    url = postgres_server.address(tmp_path)
    scopes = ("--scope", "sessions:create", "--scope", "introspect")
    key = command(tmp_path, "keys", "create", "root", *scopes, "--ledger", url)
    admin = {"Authorization": f"Bearer {key}"}
    with Served(tmp_path, "--ledger", url, "--workers", "2", "--no-access-log") as served:
        assert served.client.get("/readyz").status_code == 200
        made = served.client.post("/v1/sessions", json={"principal": "alice"}, headers=admin)
        assert made.status_code == 201
        token = made.json()["token"]
        bearer = {"Authorization": f"Bearer {token}"}

        def told() -> list[tuple[int, bool]]:
            """By connections of their own, so that either worker answers some."""
            answers = []
            for _ in range(8):
                with httpx.Client(base_url=served.url, timeout=PATIENCE_SECONDS) as client:
                    passed = client.get("/auth", headers=bearer)
                    asked = client.post("/introspect", data={"token": token}, headers=admin)
                answers.append((passed.status_code, asked.json()["active"]))
            return answers

        assert told() == [(200, True)] * 8
        with SessionStore.open(url) as store:
            store.revoke(handle=made.json()["handle"])
        assert told() == [(401, False)] * 8
