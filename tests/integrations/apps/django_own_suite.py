"""Django's own tests of session engines, run on ours: for a process of its own.

The folders of a source distribution, it and its `tests`, are on the path. Each test is printed
with what became of it.
"""

from __future__ import annotations

import json
import sys
import unittest
from importlib import import_module
from typing import Any

import django
from django.conf import settings

from sessionledger import SessionStore, open_log
from tests.integrations.apps.django_sessions_app import ENGINE


def suite(engine: str) -> unittest.TestSuite:
    """What every engine of Django passes, and its middleware over the engine."""
    from django.test import SimpleTestCase, override_settings

    tests = import_module("sessions_tests.tests")
    backend = import_module(engine).SessionStore
    mixin: Any = tests.SessionTestsMixin
    ours = type("Engine", (mixin, SimpleTestCase), {"backend": backend})
    over = override_settings(SESSION_ENGINE=engine)(
        type("Middleware", (tests.SessionMiddlewareTests,), {})
    )
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    return unittest.TestSuite([load(ours), load(over)])


def main() -> None:
    log = open_log("memory:")
    settings.configure(
        SECRET_KEY="only for tests",
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.sessions", "sessions_tests"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SESSIONLEDGER={"SESSIONS": lambda: SessionStore(log)},
    )
    django.setup()
    from django.test.utils import get_runner

    runner = get_runner(settings)(verbosity=0)
    runner.setup_test_environment()
    databases = runner.setup_databases()
    result = unittest.TextTestRunner(stream=sys.stderr).run(suite(ENGINE))
    runner.teardown_databases(databases)
    failed = [str(test.id()).rpartition(".")[2] for test, _ in result.failures + result.errors]
    print(json.dumps({"version": django.__version__, "run": result.testsRun, "failed": failed}))


if __name__ == "__main__":
    main()
