"""Whose a ledger is, and which files beside it can be trusted.

A ledger is a file or a folder. The files that belong to it are its companions. Another user may
have made one first, so as to read or change what is put there. A process that runs as root must
not leave one that the ledger's owner can't open.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sessionledger.errors import LogUnavailable

_MOUNTS = Path("/proc/self/mountinfo")
_ALONE = 0o600
_SHARED = 0o660
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
_LINK = (errno.ELOOP, errno.EMLINK)


class Owner(NamedTuple):
    """Who a file is given to: a user, a group (-1 for that of the process), and a mode."""

    uid: int
    gid: int
    mode: int


def resolved(path: str | Path) -> Path:
    """The one path of a ledger, without links and dots, beside which all its companions are.

    Raises `LogUnavailable` for a file that has other paths too, and `OSError` where the system does
    not follow a link, since another user made it.
    """
    if "\0" in str(path):
        raise LogUnavailable("a path can't hold a NUL character")
    real = Path(os.path.realpath(path))
    with suppress(FileNotFoundError, NotADirectoryError):
        found = os.stat(path)  # noqa: PTH116  through the links, as the system follows them
        if stat.S_ISREG(found.st_mode):
            _check_names(real, found.st_nlink)
    return real


def _check_names(path: Path, names: int) -> None:
    if names > 1:
        raise LogUnavailable(
            f"{path} has {names} names (hard links), and its companions stand beside one of them: "
            f"remove the others, which `find -samefile {_quoted(path)}` lists"
        )
    _check_mount(path)


def _check_mount(path: Path) -> None:
    """Raises `LogUnavailable` for a mount point.

    `ismount` misses those within one file system. In an overlay it takes each file for one whose
    layer is on another file system than the lowest.
    """
    name = os.fsencode(path)
    for character in b"\\ \t\n":
        name = name.replace(b"%c" % character, b"\\%03o" % character)
    try:
        is_mounted = name in {line.split(b" ")[4] for line in _MOUNTS.read_bytes().splitlines()}
    except OSError:
        is_mounted = os.path.ismount(path)
    if is_mounted:
        raise LogUnavailable(
            f"{path} is mounted alone, apart from the rest of its ledger: mount the whole folder"
        )


def owner_of(ledger: Path) -> Owner:
    """Who gets the companions of a ledger: its owner, and its group if that may write it too."""
    try:
        found = ledger.stat()
    except FileNotFoundError:
        return Owner(os.geteuid(), -1, _ALONE)
    return Owner(found.st_uid, found.st_gid, _SHARED if found.st_mode & stat.S_IWGRP else _ALONE)


def check_ledger(ledger: Path) -> None:
    """Raises `LogUnavailable` for a ledger that everybody may write, or that is somebody else's."""
    found, user = ledger.stat(), os.geteuid()
    if found.st_mode & stat.S_IWOTH:
        raise LogUnavailable(_refusal(ledger, "everybody may write it", "chmod o-w"))
    is_empty = stat.S_ISREG(found.st_mode) and not found.st_size
    is_shared = bool(found.st_mode & stat.S_IWGRP) and found.st_gid in _groups()
    if found.st_uid not in (user, 0) and (is_empty or not (is_shared or user == 0)):
        problem = f"user {found.st_uid} owns it, and this process runs as user {user}"
        raise LogUnavailable(_refusal(ledger, problem, f"run it as that user, or chown {user}"))


def check_companion(path: Path, found: os.stat_result, owner: Owner, forbidden: int) -> None:
    """Raises `LogUnavailable` for a companion that somebody else made, or may use.

    forbidden: the permissions that only those may have who may write the ledger.
    """
    if stat.S_ISDIR(found.st_mode):
        _check_mount(path)
    mode, by_group = stat.S_IMODE(found.st_mode), found.st_gid == owner.gid
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise LogUnavailable(f"{path} is a link, or no file: put the file itself in its place")
    if found.st_uid not in (owner.uid, 0) and not (by_group and owner.mode & stat.S_IWGRP):
        problem = f"user {found.st_uid} owns it, and the ledger is user {owner.uid}'s"
        raise LogUnavailable(_refusal(path, problem, f"remove it, or chown {owner.uid}"))
    if mode & forbidden & ~(owner.mode if by_group else _ALONE):
        problem = f"its mode is {mode:04o}, so others may use it"
        raise LogUnavailable(_refusal(path, problem, f"chmod {owner.mode:o}"))


def owner_of_next(path: Path, ledger: Path) -> Owner:
    """Who gets the file that replaces a companion: the owner of the one that is there, if any."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return owner_of(ledger)
    check_companion(path, found, owner_of(ledger), 0o022)
    return Owner(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))


def open_companion(path: Path, owner: Owner, flags: int = os.O_RDWR) -> int:
    """Open a companion, and make it for the owner if it is not there.

    Raises `LogUnavailable` for one that can't be trusted, and `OSError`.
    """
    while True:
        try:
            return open_trusted(path, owner, flags)
        except FileNotFoundError:
            with suppress(FileExistsError):
                _make(path, owner)


def open_trusted(path: Path, owner: Owner, flags: int, forbidden: int = 0o022) -> int:
    """Open a companion that is there. Raises as `open_companion` does."""
    try:
        file = os.open(path, flags | _FLAGS)
    except OSError as error:
        if error.errno in _LINK:
            check_companion(path, path.lstat(), owner, 0)
        raise
    try:
        check_companion(path, os.fstat(file), owner, forbidden)
    except BaseException:
        os.close(file)
        raise
    return file


def make_folder(folder: Path, owner: Owner) -> bool:
    """Make a folder of the ledger for its owner; whether it was not there.

    Raises as `open_companion` does.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:  # perhaps since just now: several processes begin at one moment
        if not folder.is_symlink() and not folder.is_dir():
            raise
        check_companion(folder, folder.lstat(), owner, 0o022)
        return False
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    try:
        give(file, owner._replace(mode=0o700 if owner.mode == _ALONE else 0o2770))
    finally:
        os.close(file)
    return True


def flush(path: Path) -> None:
    """Make the content of a file durable, or the names in a folder."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        # It can be passed and not read. Only a flush of everything reaches it.
        os.sync()
        return
    try:
        os.fsync(file)
    finally:
        os.close(file)


def give(file: int, owner: Owner) -> None:
    """Give an open file to the owner. One that can't be given stays that of this process alone."""
    uid = owner.uid if os.geteuid() == 0 else -1
    with suppress(PermissionError):
        os.fchown(file, uid, owner.gid)
        os.fchmod(file, owner.mode)


def holder_of(file: Path) -> str:
    """The process that has locked a file, as text for an error. Linux tells which one it is."""
    try:
        found = file.stat()
        at = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        # Of one that waits, an arrow stands before these fields.
        pid = next(lock[4] for lock in locks if lock[3:6:2] == ["WRITE", at])
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except (OSError, StopIteration):
        return "another process"
    told = dict(line.split(":\t", 1) for line in lines[:3])
    return f"process {pid} ({told['Name']}, {told['State'].partition(' ')[2].strip('()')})"


def _make(path: Path, owner: Owner) -> None:
    """Make an empty file. Nobody finds it before it is the owner's, who could not open it yet."""
    if owner.mode == _ALONE and owner.uid == os.geteuid():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _ALONE))
        return
    draft = path.with_name(f".{os.urandom(8).hex()}.new")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _ALONE)
    try:
        give(file, owner)
        os.link(draft, path)
    finally:
        os.close(file)
        draft.unlink()


def _groups() -> set[int]:
    return {os.getegid(), *os.getgroups()}


def _quoted(path: Path) -> str:
    from shlex import quote  # few paths are refused

    return quote(str(path))


def _refusal(path: Path, problem: str, remedy: str) -> str:
    return f"{path} is not used: {problem}. To use it, {remedy} {_quoted(path)}"
