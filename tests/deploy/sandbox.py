"""Runs a program under those restrictions of a systemd unit that a process can put on itself.

`python sandbox.py SYSCALLS FAMILIES PROGRAM …`: the system calls and the address families that it
may use, each list with commas between. What else is asked for is EPERM. No new privileges, and no
memory that can be written and run (Linux 6.3). The test mounts what the unit mounts.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from ctypes.util import find_library

_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
_ALLOW, _ERRNO, _EQUAL, _UNKNOWN = 0x7FFF0000, 0x00050000, 4, -1


class _Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp` of libseccomp."""

    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("more", ctypes.c_uint64),
    ]


def restrict(syscalls: list[str], families: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    check(libc.prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0))
    seccomp = ctypes.CDLL(find_library("seccomp") or "libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(_ERRNO | errno.EPERM))
    for name in syscalls:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            continue
        if name != "socket":
            check(seccomp.seccomp_rule_add(context, _ALLOW, number, 0))
            continue
        for family in families:
            is_it = _Comparison(0, _EQUAL, getattr(socket, family), 0)
            check(seccomp.seccomp_rule_add_array(context, _ALLOW, number, 1, ctypes.byref(is_it)))
    check(seccomp.seccomp_load(context))


def check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno() or -result, "a restriction can't be put on")


if __name__ == "__main__":
    restrict(sys.argv[1].split(","), sys.argv[2].split(","))
    os.umask(0o077)
    os.execvp(sys.argv[3], sys.argv[3:])
