"""A ledger's address: what is understood, and what is refused without echoing it."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import (
    InvalidPolicy,
    InvalidURL,
    LedgerURL,
    LogUnavailable,
    open_log,
    open_snapshot,
    parse_url,
)
from tests.tiers import examples

HOSTILE = "?# %é\u2028[]:;&'\"\\~a"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("url", ["memory:", "memory://", "MEMORY:"])
def test_a_memory_log_has_no_place(url: str) -> None:
    log = open_log(url)
    assert log.describe().backend == "memory"
    log.close()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:///sessions.db", "sessions.db"),
        ("SQLite:///sessions.db", "sessions.db"),
        ("sqlite:///a%20b%3F%23.db", "a b?#.db"),
        ("sqlite:///%C3%A9.db", "é.db"),
        ("sqlite:///./here.db", "here.db"),
        ("sqlite:///a%25b", "a%b"),
        ("sqlite:///a\nb", "a\nb"),
        ("sqlite:///file:x?mode=ro".replace("?", "%3F"), "file:x?mode=ro"),
    ],
)
def test_a_relative_path_lies_in_the_working_directory(tmp_path: Path, url: str, name: str) -> None:
    open_log(url).close()
    assert (tmp_path / name).is_file()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///{}/events", "{}/events"),
        ("file:////{}/events", "{}/events"),
        ("FILE:/{}/events", "{}/events"),
        ("file:///{}/a%20b%3F%23", "{}/a b?#"),
        ("file:events", "{}/events"),
        ("file:./a%C3%A9", "{}/aé"),
    ],
)
def test_a_folder_is_named_by_its_path(tmp_path: Path, url: str, path: str) -> None:
    log = open_log(url.format(str(tmp_path).removeprefix("/")))
    assert log.describe().location == path.format(tmp_path)
    log.close()
    assert Path(path.format(tmp_path), "topics").is_dir()


@examples(20)
@given(st.text(HOSTILE, min_size=1, max_size=20).filter(lambda name: name.strip(".")))
def test_any_absolute_path_can_be_written(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    path = tmp_path_factory.mktemp("place") / name
    log = open_log(f"sqlite:///{quote(str(path))}")
    assert log.describe().location == str(path)
    log.close()
    assert path.is_file()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sessions.db",
        "/var/lib/sessions.db",
        "sqlite:",
        "sqlite://",
        "sqlite:///",
        "sqlite:sessions.db",
        "sqlite:/sessions.db",
        "sqlite://sessions.db",
        "sqlite://host/sessions.db",
        "sqlite://[bad/sessions.db",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a.db#top",
        "sqlite:///a%00b",
        "sqlite:///a%FFb",
        "memory:shared",
        "memory:///a",
        "memory:?a",
        "redis://localhost",
        "file:",
        "file:///",
        "file://host/a",
        "file://relative",
        "file:///a?b",
        "file:a#b",
        "file:///a%00b",
        "file:a%FFb",
        "file",
    ],
)
def test_what_can_t_be_understood_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidURL):
        open_log(url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", [None, b"memory:", 7, Path("x")])
def test_an_address_is_text(url: object) -> None:
    with pytest.raises(InvalidURL, match="text"):
        open_log(url)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["sessions.db", "/var/lib/sessions.db", "", Path("sessions.db")])
def test_a_bare_path_is_told_how_it_is_written(url: object) -> None:
    with pytest.raises(InvalidURL, match=r"write sqlite:///sessions\.db"):
        open_log(url)  # type: ignore[arg-type]


@pytest.mark.parametrize("durability", ["", "FULL", "off", None])
def test_durability_is_full_or_normal(durability: object) -> None:
    with pytest.raises(InvalidPolicy, match="durability"):
        open_log("memory:", durability=durability)  # type: ignore[arg-type]


def test_a_refusal_does_not_repeat_a_password() -> None:
    for url in ("mysql://root:S3CR3T@db/x", "sqlite://root:S3CR3T@host/x", "memory:S3CR3T"):
        with pytest.raises(InvalidURL) as caught:
            open_log(url)
        assert "S3CR3T" not in f"{caught.value!r}"


def test_a_place_that_is_not_there_is_the_storage_s_to_refuse() -> None:
    with pytest.raises(LogUnavailable, match="does not exist"):
        open_log("sqlite:///nowhere/sessions.db")


@given(st.text(alphabet=HOSTILE + "/.", min_size=1).filter(lambda text: text.strip("/") != ""))
@examples(100)
def test_what_an_address_says_is_what_would_be_opened(path: str) -> None:
    told = parse_url(f"sqlite:///{quote(path)}")
    assert told == LedgerURL("sqlite", Path(path), f"sqlite:///{quote(path)}")
    folder = f"/{path.lstrip('/')}"
    assert parse_url(f"FILE://{quote(folder)}")[:2] == ("file", Path(folder))


def test_a_ledger_in_memory_has_no_path() -> None:
    assert parse_url("MEMORY://") == LedgerURL("memory", None, "memory:")


@pytest.mark.parametrize("url", ["", "sessions.db", "memory:x", "sqlite:x", "file://h/x", "x://y"])
def test_what_can_not_be_opened_can_not_be_read(url: str) -> None:
    with pytest.raises(InvalidURL) as opening:
        open_log(url)
    with pytest.raises(InvalidURL) as reading:
        parse_url(url)
    assert str(opening.value) == str(reading.value)


@pytest.mark.parametrize(
    ("url", "seconds"),
    [
        ("memory:", 10),
        ("memory:?timeout=5s", 5),
        ("sqlite:///a.db?timeout=1.5s", 1.5),
        ("sqlite:///a.db?timeout=250ms", 0.25),
        ("file:folder?timeout=86400s", 86_400),
        ("file:///a/folder?timeout=1ms", 0.001),
        ("postgresql://u@host/db?timeout=3s", 3),
        ("postgresql://u@host/db?sslmode=require&timeout=3s&schema=other", 3),
    ],
)
def test_an_address_says_how_long_a_call_waits(url: str, seconds: float) -> None:
    told = parse_url(url)
    assert told.timeout == seconds
    assert "timeout" not in told.location + str(told.path)


@pytest.mark.parametrize(
    "said",
    [
        *("timeout=", "timeout=5", "timeout=0s", "timeout=-1s", "timeout=nans", "timeout=1e3s"),
        *("timeout=0.5ms", "timeout=86401s", "timeout=5m", "timeout=5s ", "timeout=\u0665s"),
        *("timeout=1s&timeout=2s", "timeout=S3CR3T"),
    ],
)
@pytest.mark.parametrize("url", ["memory:", "sqlite:///a.db", "file:a", "postgresql://u@h/d"])
def test_a_timeout_that_can_not_be_is_refused_by_every_address(url: str, said: str) -> None:
    with pytest.raises(InvalidURL, match="a timeout is 1 ms to a day, written once: timeout=10s"):
        open_log(f"{url}?{said}")


@pytest.mark.parametrize("said", ["", "timeout", "Timeout=5s", "timeout=5s&x=1", "x=1&timeout=5s"])
def test_a_path_is_followed_by_nothing_else(said: str) -> None:
    with pytest.raises(InvalidURL):
        open_log(f"sqlite:///a.db?{said}")


def test_what_the_opener_says_goes_before_the_address(tmp_path: Path) -> None:
    for url in ("memory:?timeout=5s", "sqlite:///a.db?timeout=5s", "file:a?timeout=5s"):
        with closing(open_log(url)) as log:
            assert log.timeout == 5
        with closing(open_log(url, timeout=timedelta(seconds=2))) as log:
            assert log.timeout == 2
    with closing(open_snapshot("sqlite:///a.db?timeout=3s")) as shown:
        assert shown.timeout == 3
