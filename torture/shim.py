"""The library in `shim.c`: compiled, loaded into this process, and told what to do."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
LOADED = "TORTURE_SHIM"


class NoCompiler(Exception):
    """There is no C compiler."""


def load() -> None:
    """Begin this program again with the library before the C library, if it has not got it.

    Raises `NoCompiler`.
    """
    if LOADED in os.environ:
        os.environ.pop("LD_PRELOAD", None)
        return
    library = Path(tempfile.mkdtemp(prefix="torture-shim-")) / "shim.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    try:
        subprocess.run(command, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise NoCompiler("a C compiler is needed: apt-get install build-essential") from error
    changed = {"LD_PRELOAD": str(library), LOADED: str(library)}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | changed)


def fail(folder: Path, kind: str, first: int, last: int, error: str, hits: int) -> None:
    """Let calls `first` to `last` of a kind fail from now on. Each writes a dot to `hits`."""
    number = getattr(errno, error)
    _library().torture_fail(bytes(folder.resolve()), kind.encode(), first, last, number, hits)


def record(folder: Path, file: int, last: int = 0) -> None:
    """Append every change in the folder to an open file. Die after that many, unless it is 0."""
    _library().torture_record(bytes(folder.resolve()), file, last)


def note(text: bytes) -> None:
    """Put something between the changes."""
    _library().torture_note(text, len(text))


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(os.environ[LOADED], use_errno=False)
    library.torture_fail.argtypes = [
        ctypes.c_char_p, ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_int,
    ]  # fmt: skip
    library.torture_record.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long]
    library.torture_note.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return library
