"""Which file system a path is on: locks can't be trusted over a network."""

from __future__ import annotations

import os
from pathlib import Path

from sessionledger.errors import LogUnavailable

NETWORK_FILESYSTEMS = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.gcsfuse", "fuse.glusterfs",
    "fuse.nfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs",
))  # fmt: skip

_MOUNTS = Path("/proc/self/mountinfo")


def check_is_local(path: Path) -> None:
    """Raises `LogUnavailable` for a path on a network file system."""
    kind = network_filesystem(path.parent)
    if kind is not None:
        raise LogUnavailable(
            f"{path} is on a network file system ({kind}), where locks can't be trusted: keep the "
            "ledger on a local disk"
        )


def network_filesystem(path: Path) -> str | None:
    """The type of the network file system that holds the path, or None.

    None as well where the platform does not tell, which is everywhere but on Linux.
    """
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = filesystem_of(Path(os.path.realpath(path)), mounts)
    return kind if kind in NETWORK_FILESYSTEMS else None


def filesystem_of(path: Path, mountinfo: str) -> str | None:
    """The type of the file system that holds an absolute path, by /proc/self/mountinfo (proc(5)).

    The longest mount point wins, and the later one among equals.
    """
    below, best, found = f"{path}/", -1, None
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = _unescape(fields[4]).rstrip("/")
        if len(point) >= best and below.startswith(f"{point}/"):
            best, found = len(point), after.split(" ")[0]
    return found


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
