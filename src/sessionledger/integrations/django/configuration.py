"""The stores of this process, as the settings say: each opened when it is needed, and kept.

A server may fork afterwards. When the setting changes, as in tests, they are closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from sessionledger import SessionStore
from sessionledger.integrations.settings import Settings

NAME = "SESSIONLEDGER"
_KNOWN = {"OPEN", "SESSIONS", "SETTINGS"}

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
    # Without a lock, which an interrupt could leave locked: `setdefault` is one step.
    store = _checked(name, opener())
    kept = _opened.setdefault(name, store)
    if kept is not store:
        store.close()
    return kept


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
        for name in [*_opened]:
            _opened.pop(name).close()


setting_changed.connect(_forget)
