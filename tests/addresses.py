"""Addresses of PostgreSQL ledgers with a password, in every spelling."""

from __future__ import annotations

SECRET = "s3cret"

HOLDING_A_SECRET = (
    f"postgresql://alice:{SECRET}@127.0.0.1:1/app",
    f"postgres://alice:{SECRET}@127.0.0.1:1/app",
    f"POSTGRESQL://alice:{SECRET}@127.0.0.1:1/app",
    f"postgresql://:{SECRET}@127.0.0.1:1/app",
    f"postgresql://alice:{SECRET}%2Fa%40b%3F@127.0.0.1:1/app",
    f"postgresql://alice%3A{SECRET}:{SECRET}@127.0.0.1:1/app",
    f"postgresql://127.0.0.1:1/app?user=alice&password={SECRET}",
    f"postgresql://127.0.0.1:1/app?user=alice&pass%77ord={SECRET}",
    f"postgresql://127.0.0.1:1/app?%70%61%73%73%77%6F%72%64={SECRET}",
    f"postgresql://127.0.0.1:1/app?sslpassword={SECRET}",
    f"postgresql://127.0.0.1:1/app?sslpass%77ord={SECRET}&user=alice",
    f"postgresql://alice@127.0.0.1:1/app?sslmode=prefer&password={SECRET}+1",
)
"""All are the ledger at `postgresql://127.0.0.1:1/app`."""

UNREADABLE = (
    f"postgresql://alice:{SECRET}/a@127.0.0.1:1/app",
    f"postgresql://alice:5432/{SECRET}@127.0.0.1:1/app",
    f"postgresql://alice:a@{SECRET}@127.0.0.1:1/app",
    f"postgresql://alice:{SECRET}@b@127.0.0.1:1/app",
    f"postgresql://alice:a?{SECRET}@127.0.0.1:1/app",
    f"postgresql://alice:5?application_name={SECRET}@127.0.0.1:1/app",
    f"postgresql://alice:5?schema={SECRET}@127.0.0.1:1/app",
    f"postgresql://alice:a#{SECRET}@127.0.0.1:1/app",
    f"postgresql://alice:{SECRET}%2@127.0.0.1:1/app",
    f"postgresql://127.0.0.1:1/{SECRET}@host/app",
    f"postgresql://127.0.0.1:1/app?user=a@b&password={SECRET}",
    f"postgresql://127.0.0.1:1/app?passwort={SECRET}",
    f"postgresql://127.0.0.1:1/app?password={SECRET}&password={SECRET}",
    f"postgresql://alice:{SECRET}@[127.0.0.1:1/app",
    f"postgresql:alice:{SECRET}@127.0.0.1:1/app",
    f"postgresql:/alice:{SECRET}@127.0.0.1:1/app",
)
"""In these libpq divides user, password, host and database elsewhere than their author meant."""
