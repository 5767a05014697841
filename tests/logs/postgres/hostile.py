"""Roles whose sessions begin with settings that a ledger must not depend on."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from sessionledger import Log, open_log
from tests import pgbouncer, postgres_server
from tests.servers import once

SETTINGS = (
    "search_path = hijack, pg_catalog",
    "bytea_output = escape",
    "statement_timeout = '100ms'",
    "lock_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "idle_session_timeout = '2s'",
    "transaction_timeout = '2s'",
    "default_transaction_isolation = serializable",
    "default_transaction_deferrable = on",
    "row_security = off",
    "synchronous_commit = off",
    "standard_conforming_strings = off",
    "escape_string_warning = on",
    "backslash_quote = off",
    "array_nulls = off",
    "transform_null_equals = on",
    "client_encoding = LATIN1",
    "client_min_messages = error",
    "DateStyle = German",
    "IntervalStyle = sql_standard",
    "TimeZone = 'Asia/Kathmandu'",
    "extra_float_digits = -15",
    "quote_all_identifiers = on",
    "xmloption = document",
    "lc_messages = 'C'",
    "plan_cache_mode = force_custom_plan",
    "debug_parallel_query = regress",
    "check_function_bodies = off",
)
# What a name without a schema would mean with that search path.
_HIJACK = """CREATE SCHEMA IF NOT EXISTS hijack;
    GRANT USAGE ON SCHEMA hijack TO PUBLIC;
    CREATE OR REPLACE FUNCTION hijack.set_config(text, text, boolean) RETURNS text
        LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
    CREATE OR REPLACE FUNCTION hijack.compare(integer, integer) RETURNS boolean
        LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
    CREATE OR REPLACE FUNCTION hijack.compare(bigint, bigint) RETURNS boolean
        LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
    DROP OPERATOR IF EXISTS hijack.<> (integer, integer);
    DROP OPERATOR IF EXISTS hijack.= (bigint, bigint);
    CREATE OPERATOR hijack.<> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = hijack.compare);
    CREATE OPERATOR hijack.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = hijack.compare)"""


@cache
def role(*settings: str) -> str:
    """The name of a role with these settings, which may make schemas."""
    ((database,),) = postgres_server.execute("SELECT current_database()")
    number = SETTINGS.index(settings[0]) if len(settings) == 1 else len(SETTINGS)
    name = f"hostile_{database}_{number}"
    return once(f"role-{name}", partial(_make_role, name, database, settings))


def _make_role(name: str, database: str, settings: tuple[str, ...]) -> str:
    postgres_server.execute(_HIJACK)
    postgres_server.execute(f"CREATE ROLE {name} LOGIN")
    postgres_server.execute(f"GRANT CREATE ON DATABASE {database} TO {name}")
    for setting in settings:
        postgres_server.execute(f"ALTER ROLE {name} SET {setting}")
    return name


def address(place: Path, *settings: str) -> str:
    """The address of a ledger at a path that is opened with these settings."""
    return postgres_server.address(place).replace("postgres@", f"{role(*settings)}@")


def opened(place: Path) -> Log:
    """A log at a path, with all the settings at once."""
    return open_log(address(place, *SETTINGS))


def opened_through_a_pooler(place: Path) -> Log:
    """A log at a path, whose every transaction may be in another session of the server."""
    return open_log(pgbouncer.address("transaction", place))
