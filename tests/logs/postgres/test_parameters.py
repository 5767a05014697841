"""libpq's variables, files and parameters mean what they mean to `psql`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import InvalidURL, Log, LogUnavailable, SessionStore, open_log
from sessionledger.logs.postgres.connection import Address
from sessionledger.logs.postgres.handshake import settled
from sessionledger.logs.postgres.opening import address_of
from sessionledger.testing.fixtures import until
from tests.addresses import SECRET
from tests.postgres_server import (
    address,
    execute,
    schema,
    socket_path,
    use_a_server_apart,
)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of a ledger whose server libpq's variables name."""
    monkeypatch.setenv("PGHOST", str(socket_path().parent))
    monkeypatch.setenv("PGUSER", "postgres")
    monkeypatch.setenv("PGDATABASE", execute("SELECT current_database()")[0][0])
    return f"postgresql://?schema={schema(tmp_path)}"


@contextmanager
def opened(url: str) -> Iterator[Log]:
    log = open_log(url)
    yield log
    log.close()


def shown(log: Log, name: str) -> str:
    """A setting of the server's session, as the log's own connection sees it."""
    read = log._read  # type: ignore[attr-defined]
    return str(read(lambda one: one.ask((f"SHOW {name}", ()))[0][0][0]))


def told(url: str) -> Address:
    """The address, with all that libpq is told."""
    return settled(address_of(url), 10.0)


def test_connections_have_the_name_that_was_given(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(url) as log:
        assert shown(log, "application_name") == "sessionledger"
    monkeypatch.setenv("PGAPPNAME", "billing")
    with opened(url) as log:
        assert shown(log, "application_name") == "billing"
    with opened(f"{url}&application_name=my%20app%2B1") as log:
        assert shown(log, "application_name") == "my app+1"


def test_options_are_given_to_the_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(f"{url}&options=-c%20work_mem%3D8MB%20-c%20statement_timeout%3D5s") as log:
        assert shown(log, "work_mem") == "8MB"
        assert shown(log, "statement_timeout") == "0"
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=9MB -c synchronous_commit=off")
    with opened(url) as log:
        assert shown(log, "work_mem") == "9MB"
        assert shown(log, "synchronous_commit") == "on"


SERVICE = """[ledger]
application_name=by service
target_session_attrs=read-write
connect_timeout=7
"""


@pytest.mark.parametrize("by", ["variable", "address"])
def test_a_service_file_goes_before_our_defaults(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by: str
) -> None:
    (tmp_path / "services").write_text(SERVICE)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    if by == "variable":
        monkeypatch.setenv("PGSERVICE", "ledger")
    else:
        url += "&service=ledger"
    with opened(url) as log:
        assert shown(log, "application_name") == "by service"
    for name in ("target_session_attrs", "connect_timeout", "application_name"):
        assert name not in told(url).parameters, "the service file says it"


def test_a_service_that_is_not_there_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICEFILE", "/nonexistent/services")
    with pytest.raises(LogUnavailable, match="service"):
        open_log(f"{url}&service=ledger")


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("PGTARGETSESSIONATTRS", "read-write", "target_session_attrs"),
        ("PGCONNECT_TIMEOUT", "3", "connect_timeout"),
    ],
)
def test_a_variable_goes_before_our_default(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str
) -> None:
    assert told("postgresql://h/d").parameters[name] in ("primary", "10")
    monkeypatch.setenv(variable, value)
    assert name not in told("postgresql://h/d").parameters
    assert told(f"postgresql://h/d?{name}=1").parameters[name] == "1"


def test_hosts_share_the_time_to_connect() -> None:
    assert told("postgresql://a,b,c,d/x").parameters["connect_timeout"] == "2"
    assert told("postgresql://a,b/x").parameters["connect_timeout"] == "5"


def test_a_variable_that_wants_a_server_that_can_be_written_is_heeded(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_log(url).close()
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    open_log(url).close()
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "read-write")
    with pytest.raises(LogUnavailable, match="read-only"):
        open_log(url)


def is_refused(url: str) -> bool:
    try:
        open_log(url).close()
    except LogUnavailable:
        return True
    return False


@pytest.mark.middle
def test_a_password_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_a_server_apart(monkeypatch)
    execute(f"CREATE ROLE secretive LOGIN SUPERUSER PASSWORD '{SECRET}'")
    rules = Path(execute("SHOW hba_file")[0][0])
    before = rules.read_text()
    url = address(tmp_path).replace("postgres@", "secretive@")
    try:
        rules.write_text(f"local all secretive scram-sha-256\n{before}")
        execute("SELECT pg_reload_conf()")
        until(lambda: is_refused(url))
        with pytest.raises(LogUnavailable, match="password"):
            open_log(url)
        file = tmp_path / "passwords"
        file.write_text(f"*:*:*:secretive:{SECRET}\n")
        file.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(file))
        with SessionStore.open(url) as store:
            assert store.create("alice").principal == "alice"
        monkeypatch.delenv("PGPASSFILE")
        with pytest.raises(LogUnavailable) as caught:
            open_log(url.replace("secretive@", "secretive:wrong@"), timeout=timedelta(minutes=5))
        assert "password" in str(caught.value), "told at once, long before the time is over"
    finally:
        rules.write_text(before)
        execute("SELECT pg_reload_conf()")


def test_hosts_of_a_variable_are_tried_in_turn(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", f"/nonexistent,{socket_path().parent}")
    open_log(url).close()


def test_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidURL):
        open_log(f"postgresql://h/d?schema={schema(tmp_path)}&poolsize=5")
