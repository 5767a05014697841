"""The session that an application sees: a dictionary that notes what is done with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from sessionledger.integrations.own_session.values import Data

_READING = (
    *("__contains__", "__eq__", "__getitem__", "__iter__", "__len__", "__ne__", "__or__"),
    *("__repr__", "__reversed__", "__ror__", "copy", "get", "items", "keys", "values"),
)
_WRITING = ("__delitem__", "__ior__", "__setitem__", "clear", "update")
_MAYBE_WRITING = ("pop", "popitem", "setdefault")


class SessionDict(Data):
    """A framework's own session.

    load: what reads the data from the ledger at the first look; None once that was done.
    """

    accessed = modified = is_cleared = is_log_in = False
    owner: str | None = None
    load: Callable[[], None] | None = None

    @property
    def principal(self) -> str | None:
        """Who is logged in; None for a visitor."""
        self.mark_accessed()
        return self.owner

    def log_in(self, principal: str) -> None:
        """Make the session a principal's when it is saved, with another token and the same data."""
        self.mark_modified()
        self.owner, self.is_log_in = principal, True

    def mark_accessed(self) -> None:
        """Somebody looks at the session."""
        self.accessed = True
        if self.load is not None:
            self.load()
            self.load = None

    def mark_modified(self) -> None:
        """Somebody changes the session."""
        self.mark_accessed()
        self.modified = True


def _noting(name: str) -> Callable[..., Any]:
    original = getattr(dict, name)

    @wraps(original)
    def method(self: SessionDict, *given: Any, **named: Any) -> Any:
        self.mark_accessed()
        before = dict.__len__(self)
        answer = original(self, *given, **named)
        if name in _WRITING or (name in _MAYBE_WRITING and dict.__len__(self) != before):
            self.modified = True
        if name == "clear":  # nobody is logged in now, either
            self.is_cleared, self.is_log_in, self.owner = True, False, None
        return answer

    return method


for _name in (*_READING, *_WRITING, *_MAYBE_WRITING):
    setattr(SessionDict, _name, _noting(_name))
