"""The unit is as hardened as it says, and the service runs under its restrictions."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sessionledger import SessionStore
from tests.deploy.exposition import DEPLOY
from tests.server.served import Served, make_key
from tests.servers import program

UNIT = DEPLOY / "systemd" / "sessionledger.service"
SETTINGS = re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE)
SANDBOX = Path(__file__).parent / "sandbox.py"
ROOT = DEPLOY.parent
MOST_EXPOSURE = "15"
"""In tenths: systemd calls up to 4.9 OK, and a unit that restricts nothing is 9.6."""

pytestmark = pytest.mark.middle


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [program("systemd-analyze"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """systemd asks for the program itself, which is installed elsewhere here."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/sessionledger/bin/sessionledger", "/bin/true"))
    told = analyze("verify", "--recursive-errors=no", "--man=no", unit)
    assert (told.returncode, told.stderr) == (0, "")


def test_systemd_finds_little_that_is_exposed() -> None:
    told = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", UNIT)
    assert told.returncode == 0, told.stdout


def syscalls(value: str) -> set[str]:
    """What a `SystemCallFilter` names: the system calls of groups, and of groups in them."""
    found = set()
    for name in value.split():
        if name.startswith("@"):
            lines = analyze("syscall-filter", name).stdout.splitlines()
            members = [line.strip() for line in lines[1:]]
            found |= syscalls(" ".join(m for m in members if m and not m.startswith("#")))
        else:
            found.add(name)
    return found


def allowed() -> set[str]:
    """The system calls that the unit allows."""
    found: set[str] = set()
    for name, value in SETTINGS:
        if name == "SystemCallFilter":
            named = syscalls(value.removeprefix("~"))
            found = found - named if value.startswith("~") else found | named
    return found


@pytest.fixture
def restrictions(tmp_path: Path) -> list[str]:
    """What runs a program as the unit does, with the test's folder as its state."""
    unit = dict(SETTINGS)
    assert unit["ProtectSystem"] == "strict"
    assert unit["CapabilityBoundingSet"] == ""
    assert {unit[name] for name in ("MemoryDenyWriteExecute", "NoNewPrivileges")} == {"yes"}
    assert {unit[name] for name in ("PrivateTmp", "PrivateDevices", "PrivateUsers")} == {"yes"}
    state = str(tmp_path)
    mounts = ["--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/home"]
    for folder in {str(ROOT), sys.prefix, sys.base_prefix}:
        mounts += ["--ro-bind", folder, folder]
    return [
        *(program("bwrap"), "--unshare-user", "--uid", "65532", "--gid", "65532"),
        *("--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL", "--die-with-parent"),
        *(*mounts, "--bind", state, state, "--chdir", state),
        *(sys.executable, str(SANDBOX), ",".join(sorted(allowed()))),
        unit["RestrictAddressFamilies"].replace(" ", ","),
    ]


_ATTEMPTS = """
import ctypes, mmap, os, socket
def can(attempt):
    try:
        attempt()
    except OSError as error:
        return error.errno in (1, 13, 30) and "no"
    return "yes"
print(
    can(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)),
    can(lambda: open("state", "w")),
    can(lambda: socket.socket(socket.AF_INET)),
    can(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
    can(lambda: open("/etc/passwd", "a")),
    can(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    can(lambda: os.chroot(".")),
)
"""


def test_the_restrictions_hold(restrictions: list[str]) -> None:
    told = subprocess.run(
        [*restrictions, sys.executable, "-c", _ATTEMPTS], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["yes"] * 3 + ["no"] * 4


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_service_runs_under_the_restrictions(
    tmp_path: Path, restrictions: list[str], workers: str
) -> None:
    key = make_key(tmp_path, "root")
    with Served(tmp_path, "--workers", workers, by=restrictions) as served:
        made = served.create(key)
        assert served.call("GET", "/readyz").status_code == 200
        assert served.call("GET", "/auth", made["token"]).status_code == 200
        assert served.call("DELETE", f"/v1/sessions/{made['handle']}", key).status_code == 200
        served.client.close()
        outermost = served.process.pid
        (service,) = Path(f"/proc/{outermost}/task/{outermost}/children").read_text().split()
        os.kill(int(service), signal.SIGTERM)
        assert served.ended() == 0
    with SessionStore.open(f"sqlite:///{tmp_path}/sessions.db") as store:
        assert store.find(handle=made["handle"]) is None
        assert store.verify().ok
