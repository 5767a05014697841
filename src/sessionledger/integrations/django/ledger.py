"""The store of this process, as the project's settings say: one, opened when it is first needed.

A server may fork afterwards. When the setting changes, as in tests, it is closed and opened anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from sessionledger import SessionStore
from sessionledger.integrations.settings import Settings

NAME = "SESSIONLEDGER"
_KNOWN = {"OPEN", "SETTINGS"}


class _Opened:
    """What the setting says, and the store that it opened."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.settings = _settings_in(told)
        self.store = _opener_in(told)()


_lock = threading.Lock()
_opened: list[_Opened] = []


def store() -> SessionStore:
    """The store. Raises `ImproperlyConfigured`, and what opening raises."""
    return _current().store


def settings() -> Settings:
    """How requests and sessions go together here."""
    return _current().settings


def _current() -> _Opened:
    if not _opened:
        with _lock:
            if not _opened:
                _opened.append(_Opened(_told()))
    return _opened[0]


def _told() -> Mapping[str, Any]:
    told = getattr(project, NAME, None)
    if not isinstance(told, Mapping) or not told.keys() <= _KNOWN:
        raise ImproperlyConfigured(f"{NAME} must be a dictionary with OPEN, and SETTINGS perhaps")
    return told


def _opener_in(told: Mapping[str, Any]) -> Callable[[], SessionStore]:
    opener = told.get("OPEN")
    if not callable(opener):
        raise ImproperlyConfigured(f"{NAME}['OPEN'] must be a function that opens a SessionStore")
    return opener  # type: ignore[no-any-return]


def _settings_in(told: Mapping[str, Any]) -> Settings:
    given = told.get("SETTINGS", Settings())
    if not isinstance(given, Settings):
        raise ImproperlyConfigured(f"{NAME}['SETTINGS'] must be Settings of the integrations")
    return given


def _forget(*, setting: str, **_: object) -> None:
    if setting == NAME:
        with _lock:
            while _opened:
                _opened.pop().store.close()


setting_changed.connect(_forget)
