"""Parameters that several routes take."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from litestar.params import QueryParameter

Reason: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        name="reason", required=False, max_length=1024, description="Kept in the history."
    ),
]
