"""Opening a ledger: what the server has to be, and the tables, which the first to come makes."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from sessionledger.errors import (
    InvalidPolicy,
    InvalidURL,
    LogUnavailable,
    NoLedger,
    NotALedger,
    UnsupportedSchema,
)
from sessionledger.logs.compaction.contract import UNOPENED
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.append.functions import FUNCTIONS
from sessionledger.logs.postgres.connection import HOUR_SECONDS, POOL_SIZE, Address, Connection

SCHEMA = "sessionledger"
OLDEST = 140000
LEAST_POOL_SIZE, MOST_POOL_SIZE = 2, 1000  # a compaction keeps one, and works with another
# Default privileges may let a role read every new table. One that writes nothing has no use for
# the secrets in this one.
_KEEP_FROM_READERS = """DO $$ DECLARE reader text; BEGIN
    FOR reader IN SELECT pg_catalog.pg_get_userbyid(grantee)
        FROM pg_catalog.pg_class, pg_catalog.aclexplode(relacl)
        WHERE pg_class.oid = 'main.ledger_documents'::regclass AND grantee <> 0
        GROUP BY grantee HAVING NOT bool_or(privilege_type IN ('INSERT', 'UPDATE'))
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON main.ledger_documents FROM %I', reader);
    END LOOP;
END $$"""
_TABLES = (*queries.SCHEMA, _KEEP_FROM_READERS)
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_EXPECTED = (
    "a PostgreSQL ledger is postgresql://user@host:port/database, with parameters of libpq such as "
    "?sslmode=verify-full, and ?schema=name for another schema than sessionledger; "
    "write @ / ? # & within a name or a password as %40 %2F %3F %23 %26"
)
# Any other @ or / is part of a user or a password, which libpq would divide in the wrong place.
# Half a password would then pass for a host or a database.
_SHAPE = re.compile(
    r"postgresql:(?://(?:[^@/?#]*@)?[^@/?#]*(?:/[^@/?#]*)?)?(?:\?(?P<query>[^@#?]*))?"
)
# libpq does not mark these as secret.
_SECRETS = frozenset(("scram_client_key", "scram_server_key"))


def address_of(url: str) -> Address:
    """What an address says. Raises `InvalidURL`, which repeats nothing: there may be a password."""
    shape = _SHAPE.fullmatch(url)
    if shape is None or "%00" in url or "\0" in url:
        raise InvalidURL(_EXPECTED)
    try:
        asked = _query(shape["query"] or "")
        schema = asked.pop("schema", SCHEMA)
        pool_size = pool_size_of(asked.pop("pool_size", str(POOL_SIZE)))
        target = url.partition("?")[0]
        given = f"?{urlencode(asked, quote_via=quote)}" if asked else ""
        found = conninfo_to_dict(target + given)
    except InvalidPolicy as error:
        raise InvalidURL(str(error)) from None
    except (ValueError, psycopg.Error):
        raise InvalidURL(_EXPECTED) from None
    parameters = {name: str(value) for name, value in found.items()}
    ports = parameters.get("port", "").split(",")
    if not all(p.isdecimal() or not p for p in ports):
        raise InvalidURL(_EXPECTED)
    if not _SCHEMA_NAME.fullmatch(schema):
        raise InvalidURL(f"{_EXPECTED}; a schema is of lower-case letters, digits and _")
    holds_secret = not parameters.keys().isdisjoint(_secret_names())
    location = _location(parameters, schema)
    return Address(parameters, schema, location, holds_secret, pool_size)


def pool_size_of(asked: str) -> int:
    """How many connections a process may have. Raises `InvalidPolicy`."""
    size = int(asked) if re.fullmatch("[0-9]{1,9}", asked, re.ASCII) else 0
    if not LEAST_POOL_SIZE <= size <= MOST_POOL_SIZE:
        raise InvalidPolicy(
            f"pool_size must be {LEAST_POOL_SIZE} to {MOST_POOL_SIZE} connections, written once"
        )
    return size


def _query(query: str) -> dict[str, str]:
    """Parameters, decoded as libpq decodes them: a plus is a plus. Raises `ValueError`."""
    asked: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, equals, value = (unquote(part, errors="strict") for part in pair.partition("="))
        if not equals or name in asked:
            raise ValueError
        asked[name] = value
    return asked


def _secret_names() -> set[str]:
    """The parameters that libpq itself would not show, and those that it should not."""
    told = {one.keyword.decode() for one in Conninfo.get_defaults() if one.dispchar == b"*"}
    return told | _SECRETS


def prepare(connection: Connection, address: Address, durability: str) -> bool:
    """Make the tables, unless they are there; whether the functions are there too.

    Raises `LogUnavailable` for a server that can't keep a ledger, `NotALedger`,
    `UnsupportedSchema`, and what psycopg does.
    """
    _check_server(connection, address, durability)
    there = _tables(connection, address)
    if there & queries.TABLES != queries.TABLES:
        _create(connection, address)
    told = _version(connection)
    if told < queries.SCHEMA_VERSION:
        _migrate(connection, address)
    _refuse_newer(told, address)
    return _add_functions(connection, address)


def _add_functions(connection: Connection, address: Address) -> bool:
    """Make the functions, unless they are there; False if this role may not."""
    (found,) = connection.ask(
        (queries.FUNCTIONS_THERE, (list(FUNCTIONS), address.schema, address.schema))
    )
    if {name for (name,) in found}.issuperset(FUNCTIONS):
        return True
    begin = [("BEGIN", ()), (queries.ONE_AT_A_TIME, (address.schema,))]
    made = [(statement, ()) for statement in FUNCTIONS.values()]
    try:
        connection.ask(*begin, *made, ("COMMIT", ()))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
        connection.ask(("ROLLBACK", ()))
        return False
    return True


def _refuse_newer(told: int, address: Address) -> None:
    if told > UNOPENED:
        raise NotALedger(
            f"{address.location} is an unfinished copy: run the same `sessionledger copy` again"
        )
    if told > queries.SCHEMA_VERSION:
        raise UnsupportedSchema(
            f"{address.location} has schema {told} and was written by a newer sessionledger; this "
            f"one knows {queries.SCHEMA_VERSION}"
        )


def check_is_there(connection: Connection, address: Address) -> None:
    """Raises `NoLedger` for a schema without one, `LogUnavailable` and `UnsupportedSchema`."""
    there = _tables(connection, address)
    _refuse_strange(there, address)
    if there & queries.TABLES != queries.TABLES:
        raise NoLedger(f"{address.location}, in schema {address.schema!r}")
    told = _version(connection)
    if told < queries.SCHEMA_VERSION:
        raise LogUnavailable(
            f"{address.location} has schema {told}: `sessionledger rebuild` brings it up to date"
        )
    _refuse_newer(told, address)


def _check_server(connection: Connection, address: Address, durability: str) -> None:
    (((number, version, encoding, fsync),),) = connection.ask((queries.SERVER, ()))
    problem = ""
    if number < OLDEST:
        problem = f"PostgreSQL {version} is too old: it takes 14 or newer"
    elif encoding != "UTF8":
        problem = f"the database is encoded in {encoding}: a ledger is kept in UTF8"
    elif fsync != "on" and durability == "full":
        problem = (
            "the server has fsync off, and loses what it acknowledged when it loses power: turn it "
            "on, or open the ledger with durability 'normal'"
        )
    if problem:
        raise LogUnavailable(f"{address.location}: {problem}")


def creation_sql(url: str) -> str:
    """What `_create` sends, and what a compaction would add. Raises `InvalidURL`."""
    schema = address_of(url).schema
    version = queries.WRITE_SCHEMA_VERSION % f"'{queries.SCHEMA_VERSION}'"
    create = f'CREATE SCHEMA IF NOT EXISTS "{schema}"'
    functions = (*queries.GUARD_EVENTS, *FUNCTIONS.values())
    made = ("BEGIN", create, *_TABLES, version, *functions, "COMMIT")
    return "".join(f"{statement};\n".replace("main.", f'"{schema}".') for statement in made)


def _create(connection: Connection, address: Address) -> None:
    begin = [("BEGIN", ()), (queries.ONE_AT_A_TIME, (address.schema,))]
    *_, exists = connection.ask(*begin, (queries.SCHEMA_EXISTS, (address.schema,)))
    version = (queries.WRITE_SCHEMA_VERSION, (str(queries.SCHEMA_VERSION),))
    try:
        if not exists:
            connection.ask((f'CREATE SCHEMA "{address.schema}"', ()))
        _refuse_strange(_tables(connection, address), address)
        connection.ask(*((made, ()) for made in _TABLES), version, ("COMMIT", ()))
    except psycopg.errors.InsufficientPrivilege:
        raise LogUnavailable(
            f"{address.location} has no ledger, and this role may not create one: run what "
            "`sessionledger init --print-sql` prints as a role that may"
        ) from None


def _migrate(connection: Connection, address: Address) -> None:
    """Bring the tables to this schema, unless another process was faster."""
    connection.renew(HOUR_SECONDS)
    connection.ask(("BEGIN", ()), (queries.ONE_AT_A_TIME, (address.schema,)))
    versions = range(_version(connection), queries.SCHEMA_VERSION)
    changes = [change for version in versions for change in queries.MIGRATIONS[version]]
    version = (queries.WRITE_SCHEMA_VERSION, (str(queries.SCHEMA_VERSION),))
    made = ((statement, ()) for statement in (*changes, *_TABLES))
    connection.ask(*made, version, ("COMMIT", ()))


def _version(connection: Connection) -> int:
    ((told,),) = connection.ask((queries.READ_SCHEMA_VERSION, ()))[0]
    return int(told)


def _refuse_strange(there: set[str], address: Address) -> None:
    if there and "topic_heads" not in there:
        raise NotALedger(
            f"{address.location} holds other tables than a ledger's: name another schema, "
            "?schema=name"
        )


def _tables(connection: Connection, address: Address) -> set[str]:
    (lines,) = connection.ask((queries.TABLES_THERE, (address.schema,)))
    names = {name for (name,) in lines}
    if "moved_events" in names:
        connection.ask(("SELECT true FROM main.events LIMIT 1", ()))  # raises why
    return names


def _location(parameters: dict[str, str], schema: str) -> str:
    """Hosts, ports, database and schema, as an address that opens the same ledger.

    A folder of a socket is a parameter, since nobody reads it percent-encoded.
    """
    hosts = (parameters.get("host") or parameters.get("hostaddr") or "").split(",")
    ports = parameters.get("port", "").split(",")
    database = quote(parameters.get("dbname") or parameters.get("user") or "", safe="")
    asked = {} if schema == SCHEMA else {"schema": schema}
    servers = ""
    if any(host.startswith(("/", "@")) for host in hosts):
        port = {"port": ",".join(ports)} if any(ports) else {}
        asked = {"host": ",".join(hosts)} | port | asked
    else:
        pairs = zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=False)
        servers = ",".join(_server(host, port) for host, port in pairs)
    query = f"?{urlencode(asked, safe='/,@', quote_via=quote)}" if asked else ""
    return f"postgresql://{servers}/{database}{query}"


def _server(host: str, port: str) -> str:
    named = f"[{host}]" if ":" in host else host
    return f"{named}:{port}" if port else named
