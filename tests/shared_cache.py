"""A shared cache in front of a site, by RFC 9111: one store for all its users.

It stores whatever the RFC lets it, also without being told for how long, as nginx does with
`proxy_cache_valid`. What it has stored it never finds stale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

Header = tuple[str, str]


class Answer(Protocol):
    """What a site answers."""

    status: int

    def all(self, name: str) -> list[str]:
        """The values of a header."""


A = TypeVar("A", bound=Answer)


@dataclass
class SharedCache(Generic[A]):
    """reads_vary: caches of some content networks don't. hits: answers that it gave by itself."""

    ask: Callable[[str, str, list[Header]], A]
    reads_vary: bool = True
    hits: int = 0
    _stored: dict[str, list[tuple[dict[str, list[str]], A]]] = field(default_factory=dict)

    def __call__(self, path: str, headers: list[Header]) -> A:
        """The answer to a GET."""
        for wanted, answer in self._stored.get(path, []):
            if all(_values(headers, name) == values for name, values in wanted.items()):
                self.hits += 1
                return answer
        answer = self.ask("GET", path, headers)
        vary = _items(answer.all("vary")) if self.reads_vary else []
        if "*" not in vary and _may_store(answer, headers):
            wanted = {name: _values(headers, name) for name in vary}
            self._stored.setdefault(path, []).append((wanted, answer))
        return answer


def _may_store(answer: Answer, headers: list[Header]) -> bool:
    """Sections 3 and 3.5."""
    directives = {one.partition("=")[0] for one in _items(answer.all("cache-control"))}
    if answer.status != 200 or directives & {"no-store", "private"}:
        return False
    allowed = directives & {"public", "s-maxage", "must-revalidate"}
    return not _values(headers, "authorization") or bool(allowed)


def _values(headers: list[Header], wanted: str) -> list[str]:
    return [value for name, value in headers if name.lower() == wanted]


def _items(values: list[str]) -> list[str]:
    return [item.strip().lower() for value in values for item in value.split(",") if item.strip()]
