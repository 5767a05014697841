"""Hooks of schemathesis: a bearer is a session that was just begun, since some requests end it."""

from __future__ import annotations

import os
from typing import Any

import httpx
import schemathesis

URL = os.environ["SERVICE"]
KEY = os.environ["KEY"]


OWN = r"^/(v1/session(/|$)|auth)"


@schemathesis.auth().skip_for(path_regex=OWN)
class Admin:
    def get(self, case: Any, context: Any) -> str:
        return KEY

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth(refresh_interval=None).apply_to(path_regex=OWN)
class Bearer:
    def get(self, case: Any, context: Any) -> str:
        answer = httpx.post(
            f"{URL}/v1/sessions",
            json={"principal": "bearer", "ttl": 60},
            headers={"Authorization": f"Bearer {KEY}"},
        )
        return str(answer.json()["token"])

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"
