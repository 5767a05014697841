"""An interrupt while SQLite waits for another process, in a process of its own."""

from __future__ import annotations

from pathlib import Path

from tests.logs.children import run

# Interrupted while BEGIN IMMEDIATE waits for the lock of another process. That it waits is known:
# its statement has begun, no Python runs in it any more, and the lock is held.
WAITING = """
import os, signal, sys, threading
import apsw
from sessionledger import SessionStore
from tests.logs.children import ask, run, running

HOLDER = '''
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
print("released", flush=True)
'''
OTHER = '''
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(1000)
connection.execute("BEGIN IMMEDIATE")
connection.execute("ROLLBACK")
'''

signal.signal(signal.SIGINT, signal.default_int_handler)
store = SessionStore.open("sqlite:///" + sys.argv[1])
token = store.create("alice").token
begun = threading.Event()

def interrupt(holder, main):
    begun.wait()
    while sys._current_frames()[main].f_code.co_name != "transact":
        threading.Event().wait(0.001)
    os.kill(os.getpid(), signal.SIGINT)
    assert ask(holder, "release") == "released"

for action in (lambda: store.create("bob"), lambda: store.touch(token)):
    begun.clear()
    with running(HOLDER, sys.argv[1]) as holder:
        assert holder.stdout.readline() == "held\\n"
        connection = store._log._transactions._writer.connection
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda _: begun.set())
        job = threading.Thread(target=interrupt, args=(holder, threading.get_ident()))
        job.start()
        try:
            action()
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("it was not interrupted")
        job.join()
        connection.trace_v2(0, None)
    run(OTHER, sys.argv[1])
    before = store.count()
    assert store.create("carol").version
    assert store.touch(token) is not None
    assert store.count() == before + 1
    run(OTHER, sys.argv[1])
    assert store.verify().ok
"""


def test_an_interrupt_while_another_process_holds_the_lock(tmp_path: Path) -> None:
    run(WAITING, tmp_path / "ledger")
