"""The image can be built, the compose file keeps to its schema, and nginx and the roles work."""

from __future__ import annotations

import configparser
import datetime
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sessionledger import LogUnavailable, SessionStore, open_log, open_snapshot
from sessionledger.testing.fixtures import until
from sessionledger.webhooks.administration import webhooks_of
from tests import postgres_server
from tests.deploy.exposition import DEPLOY
from tests.server.served import PATIENCE_SECONDS, Served, free_port, make_key
from tests.servers import program

FOLDER = DEPLOY / "container"
ROOT = DEPLOY.parent
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

pytestmark = pytest.mark.middle


def test_hadolint_finds_nothing_wrong() -> None:
    told = subprocess.run(
        [program("hadolint"), "--failure-threshold=info", FOLDER / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


def copied() -> set[str]:
    """What the Dockerfile takes out of the checkout."""
    lines = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", _dockerfile(), re.MULTILINE)
    return {word for line in lines for word in line.split()}


def _dockerfile() -> str:
    return (FOLDER / "Dockerfile").read_text()


def test_what_the_image_takes_is_in_its_context() -> None:
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    assert lines[0] == "*"
    kept = {line.removeprefix("!") for line in lines[1:]}
    assert {
        name for name in copied() if name not in kept and str(Path(name).parent) not in kept
    } == set()
    assert all((ROOT / name).exists() for name in copied() | kept)


def test_a_wheel_is_built_from_what_the_image_takes(tmp_path: Path) -> None:
    for name in copied() - {"deploy/witness/sessionledger-witness"}:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    subprocess.run(build, cwd=tmp_path, capture_output=True, check=True)
    assert len([*(tmp_path / "dist").glob("sessionledger-*.whl")]) == 1


def test_the_compose_file_keeps_to_the_schema() -> None:
    check = [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    told = subprocess.run(
        [*check, FOLDER / "compose.yml"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout


def test_every_service_is_confined() -> None:
    for service in SERVICES.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert ":latest" not in service["image"]
        assert ":" in service["image"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert COMPOSE["networks"]["inside"]["internal"]


def test_secrets_come_as_files_alone() -> None:
    used = set()
    for service in SERVICES.values():
        used |= {*service["secrets"]}
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or name.endswith("_FILE")
            assert "@" not in value
            assert not value.startswith("/run/secrets/") or value[13:] in service["secrets"]
    assert used == set(COMPOSE["secrets"])
    assert all(told["file"].startswith("secrets/") for told in COMPOSE["secrets"].values())


def test_the_service_trusts_the_network_that_nginx_asks_from() -> None:
    (subnet,) = COMPOSE["networks"]["inside"]["ipam"]["config"]
    environment = SERVICES["sessionledger"]["environment"]
    assert environment["SESSIONLEDGER_TRUSTED_PROXIES"] == subnet["subnet"]


def test_the_page_makes_every_secret(tmp_path: Path) -> None:
    """By its own commands; who is not root can't give files away."""
    page = (ROOT / "docs" / "operating.md").read_text()
    (block,) = re.findall(r"```text\n(mkdir -m 700 secrets.*?)```", page, re.DOTALL)
    for name in ("certificate", "key"):
        (tmp_path / f"{name}.pem").touch()
    script = "set -e\n" + ("" if os.geteuid() == 0 else "chown() { :; }\n")
    script += block.replace("/path/to", str(tmp_path))
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True)
    files = {path.name: path for path in (tmp_path / "secrets").iterdir()}
    assert files.keys() == set(COMPOSE["secrets"])
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
    for role in ("owner", "app"):
        told = configparser.ConfigParser(interpolation=None)
        told.read(files[f"{role}_service"])
        assert dict(told["sessionledger"]) == {
            "host": "postgresql",
            "dbname": "sessions",
            "user": f"sessions_{role}",
            "password": files[f"{role}_password"].read_text().strip(),
        }


def certificate(folder: Path) -> None:
    """A certificate for 127.0.0.1 that nobody signed, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "tls_certificate").write_bytes(built.public_bytes(pem))
    (folder / "tls_key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@contextmanager
def nginx(folder: Path, service: int) -> Iterator[httpx.Client]:
    """A client of nginx with the configuration of the compose file, before a service at a port."""
    certificate(folder)
    port = free_port()
    text = (FOLDER / "nginx.conf").read_text()
    for there, here in {
        "sessionledger:8420": f"127.0.0.1:{service}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/run/secrets/": f"{folder}/",
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "http2 on;": "",  # nginx before 1.25 has it in `listen`
        "/dev/stderr": "stderr",
    }.items():
        assert there in text
        text = text.replace(there, here)
    temporary = "".join(
        f"{kind}_temp_path {folder};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(text.replace("http {\n", f"http {{\n{temporary}", 1))
    process = subprocess.Popen(
        [program("nginx"), "-p", folder, "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"],
        stderr=subprocess.DEVNULL,
    )
    trusted = ssl.create_default_context(cafile=folder / "tls_certificate")
    try:
        with httpx.Client(
            base_url=f"https://localhost:{port}", verify=trusted, timeout=PATIENCE_SECONDS
        ) as client:
            until(lambda: answers(client) or process.poll() is not None)
            assert process.poll() is None
            yield client
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_nginx_passes_on_all_but_the_metrics(tmp_path: Path) -> None:
    key = make_key(tmp_path, "root")
    admin = {"Authorization": f"Bearer {key}"}
    with (
        Served(tmp_path, "--trusted-proxies", "127.0.0.1") as served,
        nginx(tmp_path, served.address[1]) as client,
    ):
        made = client.post("/v1/sessions", json={"principal": "alice"}, headers=admin)
        assert made.status_code == 201
        bearer = {"Authorization": f"Bearer {made.json()['token']}"}
        assert client.get("/auth", headers=bearer).status_code == 200
        assert client.get("/metrics").status_code == 404
        assert client.post("/v1/sessions", content=b" " * 140_000, headers=admin).status_code == 413
        with client.stream("GET", "/v1/events?after=0", headers=admin) as told:
            assert any(line == "event: session_created" for line in told.iter_lines())
        forged = {"X-Forwarded-For": "192.0.2.7", "Forwarded": "for=192.0.2.7"}
        assert client.get("/auth", headers=forged).status_code == 401
        while "/auth" not in served.line() or '"status":401' not in served.told[-1]:
            pass
        assert served.requests()[-1]["client"] == "127.0.0.1"


def test_each_role_may_do_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the image of PostgreSQL runs it: once, by psql, in a new database."""
    names = ("sessions_owner", "sessions_app", "sessions_witness")
    database = f"roles_{postgres_server.schema(tmp_path)[-12:]}"
    postgres_server.execute(f"CREATE DATABASE {database}")
    text = (FOLDER / "roles.sql").read_text().replace("/run/secrets", str(tmp_path))
    for name in names:
        text = text.replace(name, f"{name}_{database}")
        role = name.removeprefix("sessions_")
        (tmp_path / f"{role}_password").write_text(f"it's {role}\n")
    (tmp_path / "roles.sql").write_text(text)
    admin = postgres_server.in_database(database)
    psql: list[str | Path] = [
        program("psql"),
        admin,
        "--set=ON_ERROR_STOP=1",
        "--file",
        tmp_path / "roles.sql",
    ]
    subprocess.run(psql, capture_output=True, check=True)

    def address(name: str) -> str:
        return admin.replace("postgres@", f"{name}_{database}@")

    with psycopg.connect(admin) as connection:
        told = connection.execute(
            "SELECT count(*) FROM pg_authid WHERE rolname LIKE %s AND rolpassword LIKE 'SCRAM%%'",
            [f"%{database}"],
        ).fetchone()
        assert told == (3,)
    with pytest.raises(LogUnavailable):
        SessionStore.open(address("sessions_app"))
    SessionStore.open(address("sessions_owner")).close()
    with SessionStore.open(address("sessions_app")) as store:
        token = store.create("alice").token
        assert store.get(token) is not None
        head = store.head()
    with SessionStore.open(address("sessions_app")) as store:
        store.rebuild()
    service = f"[sessionledger]\nhost={postgres_server.socket_path().parent}\ndbname={database}\n"
    (tmp_path / "service").write_text(f"{service}user=sessions_app_{database}\npassword=unused\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "service"))
    with SessionStore.open(SERVICES["sessionledger"]["environment"]["SESSIONLEDGER_URL"]) as store:
        assert store.get(token) is not None
    with closing(open_snapshot(address("sessions_witness"))) as log:
        assert SessionStore(log).verify(expect=str(head)).ok
    with (
        psycopg.connect(address("sessions_witness")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DELETE FROM sessionledger.events")
    with (
        psycopg.connect(address("sessions_witness")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT * FROM sessionledger.ledger_documents")
    with closing(open_log(address("sessions_app"))) as log:
        webhooks = webhooks_of(log, "orchestrator.sessions")
        assert webhooks is not None
        assert webhooks.list() == ()
