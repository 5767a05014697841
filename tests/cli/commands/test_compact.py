from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from sessionledger import SessionStore
from tests.cli.running import Line
from tests.cli.screen import Screen

IMPATIENT = (
    "import sys; from sessionledger.cli.output import progress\n"
    "progress.PATIENCE_SECONDS = -1\n"
    "from sessionledger.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
OLD = datetime.now(UTC) - timedelta(days=100)


@pytest.fixture
def handles(line: Line) -> list[str]:
    """Sessions of a hundred days ago: one that lives, and one that ended."""
    url = f"sqlite:///{line.folder / 'sessions.db'}"
    with SessionStore.open(url, clock=lambda: OLD) as store:
        issued = [store.create(who, ttl=timedelta(days=900)) for who in ("alice", "bob")]
        store.expire(issued[1].token)
    return [one.handle for one in issued]


def test_compact_first_dry(line: Line, handles: list[str]) -> None:
    line.create()
    told = line("compact", "--retention", "90d", "--dry-run", "--json").record
    expected = {"cut": 3, "events": 3, "sessions": 0, "forgotten": 1, "sealed": False}
    assert {name: told[name] for name in expected} == expected
    assert line("compact", "--retention", "90d", "--json").record == told | {"sealed": True}
    assert line("get", "--handle", handles[0]).code == 0
    assert line("get", "--handle", handles[1]).code == 1
    assert line("verify", "--json").record["cut"] == 3


def test_what_was_removed_is_said(line: Line, handles: list[str]) -> None:
    line.create()
    line("compact", "--retention", "90d")
    refused = line("events")
    assert (refused.code, refused.out) == (3, "")
    assert "up to 3" in refused.err
    assert [record["id"] for record in line("events", "--after", "3", "--json").records] == [4, 5]
    told = line("history", "--handle", handles[0], "--json")
    assert (told.code, told.records) == (0, [])
    assert "up to 3" in told.err
    assert line("history", "--handle", "sha256:v1:" + "0" * 64).code == 1


def test_a_retention_has_to_be_long_and_not_shorter_than_before(
    line: Line, handles: list[str]
) -> None:
    assert handles
    assert line("compact").code == 2
    assert line("compact", "--retention", "47h").code == 2
    assert line("compact", "--retention", "90d").code == 0
    answer = line("compact", "--retention", "60d")
    assert (answer.code, "--shorten" in answer.err) == (2, True)
    assert line("compact", "--retention", "60d", "--shorten").code == 0


def test_a_webhook_holds_it_back_until_it_is_given_up_or_removed(
    line: Line, handles: list[str]
) -> None:
    assert handles
    add = ("webhooks", "add", "https://example.com/", "--after", "1", "--json")
    id = line(*add).record["id"]
    consumer = line("compact", "--retention", "90d", "--dry-run", "--json").record["held_back_by"]
    assert id in consumer
    assert line("compact", "--retention", "90d", "--give-up", "nobody").code == 2
    given_up = line("compact", "--retention", "90d", "--give-up", consumer, "--dry-run", "--json")
    assert given_up.record["held_back_by"] is None
    assert line("webhooks", "remove", id).code == 0
    assert line("compact", "--retention", "90d", "--json").record["cut"] == 3


def test_an_archive_is_written_and_read_again(line: Line, handles: list[str]) -> None:
    line.create()
    events = line("events", "--json").records
    told = line("history", "--handle", handles[1], "--json").records
    assert line("compact", "--retention", "90d", "--archive", "kept").code == 0
    assert line("events", "--archive", "kept", "--json").records[:4] == events
    after = line("events", "--archive", "kept", "--after", "1", "--limit", "2", "--json").records
    assert after == events[1:3]
    whole = line("history", "--handle", handles[1], "--archive", "kept", "--json")
    assert (whole.records, whole.err) == (told, "")
    assert line("verify", "--archive", "kept", "--json").record["cut"] == 0
    assert line("events", "--archive", "kept", "--follow").code == 2
    refused = line("compact", "--retention", "90d")
    assert (refused.code, "--give-up-archive" in refused.err) == (2, True)
    (segment,) = (line.folder / "kept").iterdir()
    segment.unlink()
    broken = line("verify", "--archive", "kept")
    assert (broken.code, segment.name in broken.out) == (1, True)
    assert line("compact", "--retention", "90d", "--give-up-archive").code == 0


def test_people_are_told_what_would_go_and_what_holds_it_back(
    line: Line, handles: list[str], screen: Screen
) -> None:
    assert handles
    id = line("webhooks", "add", "https://example.com/", "--after", "2", "--json").record["id"]
    told = screen("compact", "--retention", "90d", "--dry-run")
    assert re.search(r"would remove 2 events up to 2, of [1-9]\d* bytes", told)
    assert "0 sessions that ended would become tombstones" in told
    assert re.search(rf"{id} has yet to read later ones", told)


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--archive", "kept"], ["--vacuum"]])
def test_a_bar_shows_that_it_goes_on(
    line: Line, handles: list[str], screen: Screen, options: list[str]
) -> None:
    assert handles
    line.create()
    seen = Screen(line, [sys.executable, "-c", IMPATIENT, "compact"])(
        "--retention", "90d", *options
    )
    assert "compacting" in seen
    # The bar is taken off the screen before the answer is written.
    assert "compacting" not in seen[seen.index("remove") :]
    assert f"{'would remove' if options == ['--dry-run'] else 'removed'} 3 events" in seen
    assert "compacting" not in screen("compact", "--retention", "90d", "--dry-run")


def test_no_bar_is_left_beside_an_error(line: Line, handles: list[str]) -> None:
    assert handles
    (line.folder / "kept").mkdir(mode=0o700)
    (line.folder / "kept" / "of-others").touch()
    command = Screen(line, [sys.executable, "-c", IMPATIENT, "compact", "--retention", "90d"])
    seen = command("--archive", "kept")
    assert "of-others" in seen
    assert "compacting" not in seen[seen.index("error") :]


def test_no_bar_is_drawn_where_nobody_is_looking(line: Line, handles: list[str]) -> None:
    assert handles
    line.create()
    answer = line.program(
        f"import sys; sys.argv[1:] = ['compact', '--retention', '90d']\n{IMPATIENT}"
    )
    assert (answer.code, answer.err) == (0, "")


def test_a_vacuum_removes_no_session(line: Line, handles: list[str]) -> None:
    assert line("compact", "--retention", "90d", "--vacuum").code == 0
    assert line("get", "--handle", handles[0]).code == 0
