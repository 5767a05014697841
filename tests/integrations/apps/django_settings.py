"""The project of the conformance suite, in Django."""

from __future__ import annotations

import os

from sessionledger import SessionStore
from tests.integrations.site import HOST, SETTINGS

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = [HOST, "127.0.0.1"]
ROOT_URLCONF = "tests.integrations.apps.django_app"
MIDDLEWARE = ["sessionledger.integrations.django.LedgerMiddleware"]
SESSIONLEDGER = {"OPEN": lambda: SessionStore.open(os.environ["LEDGER"]), "SETTINGS": SETTINGS}
# In memory, for all threads of this process.
DATABASE = "file:django?mode=memory&cache=shared"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick, for tests
LOGGING_CONFIG = None
