"""The stores of this process, as the project's settings say: each opened once, when it is needed.

A server may fork afterwards. When the setting changes, as in tests, they are closed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from sessionledger import SessionStore
from sessionledger.integrations.settings import Settings

NAME = "SESSIONLEDGER"
_KNOWN = {"OPEN", "SESSIONS", "SETTINGS"}

_lock = threading.Lock()
_opened: dict[str, SessionStore] = {}


def store() -> SessionStore:
    """The store of `request.ledger_session`.

    Raises `ImproperlyConfigured`, and what opening raises.
    """
    return _opened.get("OPEN") or _open("OPEN")


def engine_store() -> SessionStore:
    """The store of `request.session`, for the session engine. Raises like `store`."""
    return _opened.get("SESSIONS") or _open("SESSIONS")


def settings() -> Settings:
    """How requests and sessions go together here. Raises `ImproperlyConfigured`."""
    given = _configured().get("SETTINGS", Settings())
    if not isinstance(given, Settings):
        raise ImproperlyConfigured(f"{NAME}['SETTINGS'] must be Settings of the integrations")
    return given


def _open(name: str) -> SessionStore:
    opener = _configured().get(name)
    if not callable(opener):
        raise ImproperlyConfigured(f"{NAME}['{name}'] must be a function that opens a SessionStore")
    with _lock:
        if name not in _opened:
            _opened[name] = _checked(name, opener())
        return _opened[name]


def _checked(name: str, opened: object) -> SessionStore:
    if not isinstance(opened, SessionStore):
        raise ImproperlyConfigured(f"{NAME}['{name}'] must open a SessionStore")
    return opened


def _configured() -> Mapping[str, Any]:
    configured = getattr(project, NAME, None)
    if not isinstance(configured, Mapping) or not configured.keys() <= _KNOWN:
        raise ImproperlyConfigured(f"{NAME} must be a dictionary of {', '.join(sorted(_KNOWN))}")
    return configured


def _forget(*, setting: str, **_: object) -> None:
    if setting == NAME:
        with _lock:
            while _opened:
                _opened.popitem()[1].close()


setting_changed.connect(_forget)
