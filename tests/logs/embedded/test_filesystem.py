"""On which file system a path lies, and that no ledger is kept on a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sessionledger import LogUnavailable, SessionStore
from sessionledger.logs.embedded import filesystem
from sessionledger.logs.embedded.filesystem import filesystem_of, network_filesystem

# As proc(5) describes it: fields, optional fields, a dash, type, source, options.
MOUNTINFO = """\
22 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw
23 22 0:21 / /home rw,relatime shared:2 master:1 - nfs4 server:/home rw,vers=4.2
24 23 0:22 / /home/local rw,relatime - xfs /dev/sdb1 rw
25 22 0:23 / /mnt/my\\040share rw - fuse.sshfs user@host:/ rw
26 22 0:24 / /mnt/tab\\011back\\134slash rw - cifs //server/share rw
27 22 0:25 / /var/lib rw - btrfs /dev/sdc rw
28 27 0:26 / /var/lib rw - nfs server:/lib rw
29 22 0:27 / /dash-in\\040-\\040name rw - smb3 //a/b rw

not a mount at all
30 22 0:28 /short
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/etc/x", "ext4"),
        ("/home", "nfs4"),
        ("/home/me/sessions.db", "nfs4"),
        ("/homestead/x", "ext4"),
        ("/home/local", "xfs"),
        ("/home/local/deep/er", "xfs"),
        ("/home/locals", "nfs4"),
        ("/mnt/my share/x", "fuse.sshfs"),
        ("/mnt/my", "ext4"),
        ("/mnt/tab\tback\\slash/x", "cifs"),
        ("/var/lib/x", "nfs"),
        ("/dash-in - name/x", "smb3"),
    ],
)
def test_the_longest_mount_point_wins_and_the_later_of_equals(path: str, kind: str) -> None:
    assert filesystem_of(Path(path), MOUNTINFO) == kind


def test_what_is_not_told_is_not_known() -> None:
    assert filesystem_of(Path("/x"), "") is None


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], None]:
    """Declares a folder to lie on some file system."""

    def declare(folder: Path, kind: str) -> None:
        point = str(folder).replace("\\", "\\134").replace(" ", "\\040")
        mounts = tmp_path / "mountinfo"
        mounts.write_text(f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {point} rw - {kind} x rw\n")
        monkeypatch.setattr(filesystem, "_MOUNTS", mounts)

    return declare


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"])
def test_a_ledger_on_a_network_is_refused_by_name(
    tmp_path: Path, declare: Callable[[Path, str], None], kind: str
) -> None:
    folder = tmp_path / "a share"
    folder.mkdir()
    declare(folder, kind)
    with pytest.raises(LogUnavailable, match=f"network file system \\({kind}\\)"):
        SessionStore.open(f"sqlite:///{folder}/sessions.db")
    assert list(folder.iterdir()) == []


def test_a_link_to_a_network_is_seen_through(
    tmp_path: Path, declare: Callable[[Path, str], None]
) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    declare(folder, "nfs")
    with pytest.raises(LogUnavailable, match="nfs"):
        SessionStore.open(f"sqlite:///{tmp_path}/link/sessions.db")


@pytest.mark.parametrize("kind", ["ext4", "tmpfs", "overlay", "fuse.bindfs"])
def test_a_local_disk_is_taken(
    tmp_path: Path, declare: Callable[[Path, str], None], kind: str
) -> None:
    declare(tmp_path, kind)
    SessionStore.open(f"sqlite:///{tmp_path}/sessions.db").close()


def test_where_the_system_does_not_tell_a_ledger_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "_MOUNTS", tmp_path / "missing")
    assert network_filesystem(tmp_path) is None
    SessionStore.open(f"sqlite:///{tmp_path}/sessions.db").close()
