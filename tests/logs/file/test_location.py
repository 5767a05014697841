"""The folder itself: what it is made of, who may read it, and what is refused."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from sessionledger import LogUnavailable, NotALedger, SessionStore, open_log
from sessionledger.logs.file import FileLog
from sessionledger.testing.fixtures import TOPIC, add, concurrently, event, every_event
from tests.logs import bare_file
from tests.logs.children import run
from tests.logs.file.locations import durable_file, opened, store_on, topic_file


@pytest.fixture
def umask() -> Iterator[None]:
    """The usual umask, under which new files are readable by everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_what_there_is_and_that_only_the_owner_may_read_it(root: Path) -> None:
    with opened(root) as log:
        add(log, [event()])
        log.ack(TOPIC, "mailer", 1)
        every_event(log)
    found = {str(path.relative_to(root)): path for path in [root, *root.rglob("*")]}
    folders = {".", "topics", "consumers", "durable"}
    files = {
        f"topics/{TOPIC}.jsonl",
        f"consumers/{TOPIC}__mailer.json",
        f"durable/{TOPIC}",
        "ledger.lock",
    }
    assert set(found) == folders | files
    modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in found.items()}
    assert modes == dict.fromkeys(folders, 0o700) | dict.fromkeys(files, 0o600)


def test_asking_makes_no_topic(root: Path) -> None:
    with opened(root) as log:
        assert log.latest(TOPIC) == log.count(TOPIC) == 0
        assert log.topics() == []
    assert list((root / "topics").iterdir()) == []


def test_what_it_says_of_itself(log: FileLog, root: Path) -> None:
    add(log, [event()])
    add(log, [event()], "another")
    told = log.describe()
    assert (told.backend, told.location, told.durability) == ("file", str(root), "full")
    files = (topic_file(root), topic_file(root, "another"))
    size = sum(path.stat().st_size for path in files)
    assert told.details == {"topics": 2, "bytes": size, "writable": True}


def test_other_files_are_no_topics(log: FileLog, root: Path) -> None:
    add(log, [event()])
    for name in ("notes.txt", ".jsonl", "...jsonl", "a b.jsonl", f"{'x' * 201}.jsonl"):
        (root / "topics" / name).write_text("x")
    (root / "topics" / "empty.jsonl").touch()
    assert log.topics() == [TOPIC]


def test_a_file_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("dear diary")
    with pytest.raises(NotALedger, match="folder"):
        FileLog(tmp_path / "diary")
    assert (tmp_path / "diary").read_text() == "dear diary"


def test_a_folder_of_something_else_is_left_as_it_is(root: Path) -> None:
    root.mkdir()
    (root / "photo.jpg").touch()
    with pytest.raises(NotALedger, match=r"photo\.jpg"):
        FileLog(root)
    assert [one.name for one in root.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("left", [[], ["ledger.lock"], ["durable"], ["topics"]])
def test_a_folder_that_is_empty_or_half_made_becomes_a_ledger(root: Path, left: list[str]) -> None:
    root.mkdir()
    for name in left:
        (root / name).touch() if "." in name else (root / name).mkdir()
    with opened(root) as log:
        assert add(log, [event()]) == (1,)


def test_a_folder_of_topics_and_other_things_is_a_ledger(root: Path) -> None:
    bare_file.append(root, TOPIC, [event()])
    (root / "README").touch()
    with opened(root) as log:
        assert log.latest(TOPIC) == 1


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match=r"the folder .*/nowhere does not exist"):
        FileLog(tmp_path / "nowhere" / "ledger")
    assert list(tmp_path.iterdir()) == []


def test_a_file_holds_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogUnavailable, match="file is not a folder"):
        FileLog(tmp_path / "file" / "ledger")


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogUnavailable):
        FileLog(f"{tmp_path}/{name}")


@pytest.mark.parametrize("name", ["a b", "a?b", "a#b", "100%", "%41", "été-日本-🔑", "a\nb", "a;b"])
def test_any_path_works(tmp_path: Path, name: str) -> None:
    with SessionStore.open(f"file://{quote(str(tmp_path / name))}") as store:
        token = store.create("alice").token
    assert (tmp_path / name / "topics").is_dir()
    with store_on(tmp_path / name) as store:
        assert store.get(token) is not None


def test_a_lock_file_that_somebody_removed_lets_no_two_write(root: Path) -> None:
    with opened(root) as log, opened(root) as other:
        add(log, [event()])
        (root / "ledger.lock").unlink()
        writers = [lambda: [add(log, [event()])[0] for _ in range(40)]]
        writers += [lambda: [add(other, [event()])[0] for _ in range(40)]]
        ids = [id for mine in concurrently(*writers) for id in mine]
        assert sorted(ids) == list(range(2, 82))
        assert [one.id for one in every_event(log)] == list(range(1, 82))


# Root may read everything, so this goes on as nobody.
AS_NOBODY = """
import os, sys
from sessionledger import LogUnavailable
from sessionledger.logs.file import FileLog
from sessionledger.testing.fixtures import FOLD, TOPIC, add, event
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    log = FileLog(sys.argv[1])
    log.fold_with(TOPIC, FOLD)
    print(log.latest(TOPIC), log.count(TOPIC), log.cursor(TOPIC, "mailer"), *log.topics())
    print(log.describe().details["writable"])
    log.flush()
    for refused in (lambda: add(log, [event()]), lambda: log.ack(TOPIC, "mailer", 9)):
        try:
            refused()
        except LogUnavailable as error:
            print(error)
except LogUnavailable as error:
    print(error)
"""


def allow_to_read(root: Path) -> None:
    """Everybody may read the ledger, and only its owner write; not even he, if we are he."""
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_who_may_only_read_sees_all_and_writes_nothing(reachable: Path) -> None:
    with opened(reachable / "ledger") as log:
        add(log, [event(b"k"), event(b"l")])
        log.ack(TOPIC, "mailer", 1)
    allow_to_read(reachable / "ledger")
    seen, writable, *refused = run(AS_NOBODY, reachable / "ledger").splitlines()
    assert (seen, writable) == (f"2 2 1 {TOPIC}", "False")
    assert len(refused) == 2
    assert all("can't be written" in one for one in refused)


def test_who_may_only_read_sees_what_is_published(reachable: Path) -> None:
    root = reachable / "ledger"
    with opened(root) as log:
        add(log, [event(b"k")])
    with topic_file(root).open("ab") as file:
        file.write(bare_file.line(2, event(b"l")) + b'{"id":3')
    allow_to_read(root)
    # A line that nobody claimed is another program's: it was acknowledged by that one.
    assert run(AS_NOBODY, root).startswith("2 2 0")
    # Where nothing is published, the lines that are complete.
    durable_file(root).parent.chmod(0o755)
    durable_file(root).unlink()
    text = topic_file(root).read_bytes()
    assert run(AS_NOBODY, root).startswith("2 2 0")
    assert topic_file(root).read_bytes() == text


def test_who_may_only_read_is_not_given_a_new_ledger(reachable: Path) -> None:
    reachable.chmod(0o555)
    said = run(AS_NOBODY, reachable / "ledger")
    assert f"no permission to read and write {reachable}" in said
    assert list(reachable.iterdir()) == []


def test_a_ledger_that_cannot_be_read_is_named(reachable: Path) -> None:
    with opened(reachable / "ledger") as log:
        add(log, [event()])
    (reachable / "ledger").chmod(0o700 if os.getuid() == 0 else 0o000)
    said = run(AS_NOBODY, reachable / "ledger")
    assert "ermission" in said
    assert str(reachable / "ledger") in said


def test_a_ledger_below_a_folder_that_cannot_be_entered_is_named(reachable: Path) -> None:
    (reachable / "inner").mkdir()
    reachable.chmod(0o600 if os.getuid() == 0 else 0o000)
    said = run(AS_NOBODY, reachable / "inner" / "ledger")
    assert said.startswith(f"{reachable / 'inner' / 'ledger'} can't be opened for writing: ")


def test_a_relative_address_lies_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = open_log("file:events")
    assert log.describe().location == str(tmp_path / "events")
    log.close()
