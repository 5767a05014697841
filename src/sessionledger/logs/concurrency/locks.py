"""A lock that an interrupt cannot leave locked.

`with` takes a lock before it is bound to release it. Since CPython 3.14 a signal handler may raise
between the two, and a lock of `threading` then stays locked for ever.
"""

from __future__ import annotations

import sys
from _thread import RLock


class Lock(RLock):  # type: ignore[misc]  # final for typeshed only
    """A reentrant lock for `with`."""

    if sys.version_info >= (3, 14):

        def __enter__(self) -> bool:
            taken: list[bool] = []
            try:
                # One call from taking to noting: no signal handler runs in the middle of it.
                taken.extend(map(self.acquire, (True,)))
            except BaseException:
                if taken:
                    self.release()
                raise
            return True
