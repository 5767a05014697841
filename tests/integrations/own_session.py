"""What each framework's own session promises once it is kept in the ledger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Generic, TypeVar

import pytest

from sessionledger import (
    InvalidSession,
    Log,
    LogUnavailable,
    Policy,
    SessionStore,
    StoredEvent,
    open_log,
)
from sessionledger.integrations import Settings, user_agent_and_address
from sessionledger.testing import Clock
from tests.reported import shown

COOKIE = "session"
LIFETIME = timedelta(days=14)
PATIENCE_SECONDS = 30
SETTINGS = Settings(context=user_agent_and_address)

T = TypeVar("T")
View = Callable[[Any], Any]
PrincipalOf = Callable[[Any], object]


@dataclass
class Answer:
    status: int
    said: Any
    cookie: str | None
    """The token that the browser is to keep, empty where it is to forget it."""
    headers: dict[str, str] = field(default_factory=dict)


class Faulty:
    """A log whose calls fail while it is away."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.away = False
        self.read_only = False
        self.units: list[int] = []
        """How many changes each unit had."""

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._log, name)

        def called(*given: Any, **named: Any) -> Any:
            if self.away or (self.read_only and name == "append"):
                raise LogUnavailable("the ledger is away")
            if name == "append":
                self.units += [len(unit.changes) for unit in given[1]]
            return call(*given, **named)

        return called if callable(call) and not name.startswith("_") else call


class OwnSite(ABC):
    """An application with one handler, which does with the session what a test says."""

    def __init__(self, log: Log, clock: Clock, policy: Policy) -> None:
        self.log = Faulty(log)
        self.clock = clock
        self.policy = policy
        self.store = SessionStore(log, clock=clock, policy=policy)
        self.view: View = dict
        self.principal_of: PrincipalOf | None = None
        self.closing = ExitStack()

    def do(self, session: Any) -> dict[str, Any]:
        return {"said": self.view(session)}

    def principal(self, data: Any) -> object:
        """The hook of the application: nobody is asked unless a test sets one."""
        return None if self.principal_of is None else self.principal_of(data)

    @abstractmethod
    def start(self) -> None:
        """Make the application, once the test has set the hook."""

    @abstractmethod
    def raised(self, cookies: list[str]) -> BaseException:
        """What a request raises within the application, as error reports get it."""

    @abstractmethod
    def ask(self, cookies: list[str]) -> Answer:
        """One request over https with these `Cookie` headers."""

    def __call__(self, view: View, *tokens: str | None) -> Answer:
        before, self.view = self.view, view
        try:
            return self.ask([f"theme=dark; {COOKIE}={token}" for token in tokens if token])
        finally:
            self.view = before

    def begin(self, **data: Any) -> str:
        """The token of a session with data."""
        answer = self(lambda session: session.update(data))
        assert answer.cookie
        return answer.cookie

    def data(self, token: str | None) -> dict[str, Any]:
        return self(dict, token).said  # type: ignore[no-any-return]

    def events(self) -> list[StoredEvent]:
        return list(self.store.events())

    @contextmanager
    def writing(self, *kinds: str) -> Iterator[None]:
        """What happens in here appends events of these kinds, as one unit if they are several."""
        before = len(self.events())
        yield
        assert [event.kind for event in self.events()[before:]] == list(kinds)


S = TypeVar("S", bound=OwnSite)


class OwnSessionConformance(ABC, Generic[S]):
    """The promises. `policy` is the store's."""

    @abstractmethod
    def make(self, log: Log, clock: Clock, policy: Policy) -> S:
        """The site of a framework."""

    @pytest.fixture
    def policy(self) -> Policy:
        return Policy()

    @pytest.fixture
    def site(self, policy: Policy) -> Iterator[S]:
        log = open_log("memory:")
        site = self.make(log, Clock(datetime(2026, 5, 2, 12, tzinfo=UTC)), policy)
        with closing(log), site.closing:
            yield site

    @pytest.fixture
    def site_with_hook(self, site: S) -> S:
        site.principal_of = lambda data: data.get("user")
        return site

    def test_a_visitor_who_changes_nothing_writes_nothing_and_gets_no_cookie(self, site: S) -> None:
        for view in (dict, lambda _: None, lambda session: session.pop("a", None)):
            with site.writing():
                assert site(view).cookie is None

    def test_the_first_change_begins_an_anonymous_session(self, site: S) -> None:
        with site.writing("session_created"):
            token = site(lambda session: session.update(basket="tea")).cookie
        assert token is not None
        session = site.store.get(token)
        assert session is not None
        assert session.is_anonymous
        assert session.expires_at - site.clock() >= LIFETIME
        assert site.data(token) == {"basket": "tea"}
        assert not any(token in str(event) for event in site.events())

    def test_a_change_is_one_event_with_the_names_that_changed(self, site: S) -> None:
        token = site.begin(a=1, b=2)
        with site.writing("session_touched"):
            site(lambda session: session.update(a=3, c=4), token)
        assert site.data(token) == {"a": 3, "b": 2, "c": 4}
        assert site(list, token).said == ["a", "b", "c"]
        with site.writing("session_touched"):
            site(lambda session: session.pop("b"), token)
        assert site.data(token) == {"a": 3, "c": 4}

    def test_a_request_that_only_reads_writes_a_touch_when_one_is_due(self, site: S) -> None:
        token = site.begin(a=1)
        with site.writing():
            assert site.data(token) == {"a": 1}
        site.clock.advance(LIFETIME / 10)
        with site.writing("session_touched"):
            site.data(token)
        with site.writing():
            site.data(token)

    def test_the_same_value_again_is_no_change(self, site: S) -> None:
        token = site.begin(a=[1])
        with site.writing():
            site(lambda session: session.update(a=[1]), token)

    def test_a_change_within_a_value_is_saved(self, site: S) -> None:
        token = site.begin(basket=["tea"])
        with site.writing("session_touched"):
            site(lambda session: session["basket"].append("milk"), token)
        assert site.data(token) == {"basket": ["tea", "milk"]}

    def test_a_log_in_is_one_unit_that_changes_the_token_and_keeps_the_data(self, site: S) -> None:
        token = site.begin(basket="tea")

        def log_in(session: Any) -> None:
            session["theme"] = "dark"
            session.log_in("alice")

        with site.writing("session_expired", "session_created"):
            issued = site(log_in, token).cookie
        assert issued not in (None, token)
        assert site.data(issued) == {"basket": "tea", "theme": "dark"}
        assert site(lambda session: session.principal, issued).said == "alice"
        assert site.data(token) == {}
        assert site.store.count(principal="alice") == 1
        assert site.log.units[-1] == 2, "no reader sees one event without the other"
        assert next(iter(site.store.history(principal="alice"))).actor == "alice"
        assert site.store.revoke_all("alice", reason="lost phone") == 1
        assert site.data(issued) == {}

    def test_a_log_in_without_a_session_begins_one(self, site: S) -> None:
        with site.writing("session_created"):
            token = site(lambda session: session.log_in("alice")).cookie
        session = site.store.get(token or "")
        assert session is not None
        assert session.principal == "alice"
        assert session.attributes == {}

    def test_a_log_in_begins_a_life_of_its_own(self, site: S) -> None:
        token = site.begin(a=1)
        site.clock.advance(LIFETIME - timedelta(minutes=1))
        issued = site(lambda session: session.log_in("alice"), token).cookie
        session = site.store.get(issued or "")
        assert session is not None
        assert session.expires_at - site.clock() >= LIFETIME
        assert session.created_at == site.clock()

    def test_a_log_in_of_the_same_user_changes_the_token(self, site: S) -> None:
        first = site(lambda session: session.log_in("alice")).cookie
        second = site(lambda session: session.log_in("alice"), first).cookie
        assert first != second
        assert (site.data(first), site.store.count(principal="alice")) == ({}, 1)

    def test_data_that_was_cleared_is_not_carried_into_a_log_in(self, site: S) -> None:
        token = site.begin(planted=1)

        def log_in(session: Any) -> None:
            site(lambda session: session.update(meanwhile=1), token)
            session.clear()
            session["kept"] = 1
            session.log_in("alice")

        issued = site(log_in, token).cookie
        assert site.data(issued) == {"kept": 1}

    def test_a_hook_tells_who_is_logged_in(self, site_with_hook: S) -> None:
        site = site_with_hook
        site.start()
        token = site.begin(basket="tea")
        with site.writing("session_expired", "session_created"):
            issued = site(lambda session: session.update(user=7), token).cookie
        assert site.data(issued) == {"basket": "tea", "user": 7}
        assert site.store.count(principal="7") == 1
        with site.writing("session_touched"):
            assert site(lambda session: session.update(more=1), issued).cookie == issued
        with site.writing("session_expired", "session_created"):
            visitor = site(lambda session: session.pop("user"), issued).cookie
        assert visitor not in (None, issued, token)
        assert site.data(visitor) == {"basket": "tea", "more": 1}
        assert site.store.count(principal="7") == 0

    def test_a_log_in_where_the_session_ended_meanwhile_is_a_log_in(self, site: S) -> None:
        token = site.begin(a=1)

        def log_in(session: Any) -> None:
            assert session["a"] == 1
            site.store.expire(token)
            session.log_in("alice")

        issued = site(log_in, token).cookie
        assert site.data(issued) == {"a": 1}
        assert site.store.count(principal="alice") == 1

    def test_a_log_out_ends_the_session_and_the_cookie(self, site: S) -> None:
        token = site(lambda session: session.log_in("alice")).cookie
        with site.writing("session_expired"):
            assert site(lambda session: session.clear(), token).cookie in ("", "null")
        assert site.store.count() == 0
        assert list(site.store.history(principal="alice"))[-1].actor == "alice"

    def test_what_is_left_after_a_log_out_is_a_visitors(self, site: S) -> None:
        token = site(lambda session: session.log_in("alice")).cookie

        def log_out(session: Any) -> None:
            session.clear()
            session["said"] = "goodbye"

        visitor = site(log_out, token).cookie
        assert visitor not in (None, "", token)
        assert site.data(visitor) == {"said": "goodbye"}
        assert site.store.count(principal="alice") == 0

    def test_a_session_without_data_left_ends(self, site: S) -> None:
        token = site.begin(a=1)
        with site.writing("session_expired"):
            assert site(lambda session: session.pop("a"), token).cookie in ("", "null")

    def test_requests_at_the_same_time_lose_nothing_of_each_other(self, site: S) -> None:
        token = site.begin(kept=1, removed=1, changed=1)

        def view(session: Any) -> None:
            assert session["kept"] == 1
            site(lambda other: (other.update(theirs=1, changed=2), other.pop("removed")), token)
            session["ours"] = 1

        site(view, token)
        assert site.data(token) == {"kept": 1, "changed": 2, "theirs": 1, "ours": 1}

    def test_data_that_was_cleared_is_replaced_whole(self, site: S) -> None:
        token = site.begin(a=1)

        def view(session: Any) -> None:
            site(lambda other: other.update(b=1), token)
            session.clear()
            session["c"] = 1

        site(view, token)
        assert site.data(token) == {"c": 1}

    def test_a_request_that_ends_after_a_log_out_saves_nothing(self, site: S) -> None:
        token = site(lambda session: session.log_in("alice")).cookie

        def view(session: Any) -> None:
            session["late"] = 1
            site(lambda other: other.clear(), token)

        with site.writing("session_expired"):
            assert site(view, token).cookie is None
        assert site.store.count() == 0
        assert site.data(token) == {}

    def test_a_request_that_ends_after_a_log_in_does_not_send_the_old_token(self, site: S) -> None:
        token = site.begin(a=1)

        def view(session: Any) -> None:
            session["late"] = 1
            site(lambda other: other.log_in("alice"), token)

        assert site(view, token).cookie is None
        token = site.begin(a=1)

        def reading(session: Any) -> None:
            assert session["a"] == 1
            site(lambda other: other.log_in("bob"), token)

        assert site(reading, token).cookie is None

    def test_a_token_that_was_replaced_is_not_sent_again(self, site: S) -> None:
        token = site.begin(a=1)
        issued = site.store.rotate(token)
        assert issued is not None
        assert site(lambda session: session.update(b=2), token).cookie is None
        assert site.data(issued.token) == {"a": 1, "b": 2}

    def test_a_cookie_of_any_make_is_no_session(self, site: S) -> None:
        for token in ("x", "null", "a" * 32, "a" * 600, "sha256:v1:" + "0" * 64):
            told = site(dict, token)
            assert (told.said, told.cookie) == ({}, None)
            assert site(lambda session: session.update(a=1), token).cookie not in (None, "", token)

    def test_two_cookies_of_the_name_are_none(self, site: S) -> None:
        one, other = site.begin(a=1), site.begin(a=2)
        assert site(dict, one, other).said == {}

    def test_a_token_is_never_stored(self, site: S) -> None:
        token = site.begin(a=1)
        site(lambda session: session.update({"note": f"it is {token}", token: 1}), token)
        assert not any(token in str(event) for event in site.events())
        assert site.data(token)["note"] == "it is harn_sess_..."

    def test_no_report_of_an_error_shows_a_token(self, site: S) -> None:
        token = site.begin(a=1)

        def failing(session: Any) -> None:
            session["a"] = 2
            raise KeyError

        for view in (failing, lambda session: session.update(a="x" * 70_000)):
            site.view = view
            error = site.raised([f"{COOKIE}={token}"])
            assert isinstance(error, KeyError | InvalidSession)
            assert shown(error, token) == []

    def test_threads_lose_nothing_of_each_other(self, site: S) -> None:
        token, names = site.begin(first=1), count()
        site.view = lambda session: session.update({str(next(names)): 1})
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: site.ask([f"{COOKIE}={token}"]), range(20)))
        assert {answer.status for answer in answers} == {200}
        assert site.data(token).keys() == {"first", *map(str, range(20))}

    def test_order_and_deep_values_are_kept(self, site: S) -> None:
        deep: Any = 0
        for _ in range(100):
            deep = [deep]
        data = {"z": 1, "a": {"b": None, "c": [1.0, {}]}, "m": deep, "e": "ü\u2603"}
        token = site.begin(**data)
        site(lambda session: session.update(z=2), token)
        told = site.data(token)
        assert told == data | {"z": 2}
        assert site(list, token).said == ["z", "a", "m", "e"]
        assert site(lambda session: type(session["a"]["c"][0]).__name__, token).said == "float"

    def test_a_session_is_sent_home_while_the_ledger_is_away(self, site: S) -> None:
        token = site.begin(a=1)
        site.log.away = True
        answer = site(dict, token)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        site.log.away = False
        assert site.data(token) == {"a": 1}

    def test_what_could_not_be_saved_is_answered_503(self, site: S) -> None:
        token = site.begin(a=1)
        site.log.read_only = True
        answer = site(lambda session: session.update(a=2), token)
        assert (answer.status, answer.headers["retry-after"], answer.cookie) == (503, "1", None)
        site.log.read_only = False
        assert site.data(token) == {"a": 1}

    @pytest.mark.parametrize("policy", [Policy(max_sessions_per_principal=1)], ids=["limit"])
    def test_a_log_in_above_the_limit_is_refused(self, site: S) -> None:
        first = site(lambda session: session.log_in("alice")).cookie
        assert site(lambda session: session.log_in("alice")).status == 403
        # A session that is replaced makes room.
        assert site(lambda session: session.log_in("alice"), first).status == 200
        assert site.store.count(principal="alice") == 1

    @pytest.mark.parametrize(
        "policy",
        [Policy(idle_timeout=timedelta(hours=1), absolute_timeout=timedelta(hours=12))],
        ids=["timeouts"],
    )
    def test_a_policy_with_timeouts_ends_a_session_earlier(self, site: S) -> None:
        token = site.begin(a=1)
        site.clock.advance(timedelta(minutes=50))
        site(lambda session: session.update(a=2), token)
        site.clock.advance(timedelta(minutes=50))
        assert site.data(token) == {"a": 2}
        site.clock.advance(timedelta(hours=1))
        assert site.data(token) == {}

    def test_device_and_address_are_noted(self, site: S) -> None:
        token = site.begin(a=1)
        session = site.store.get(token)
        assert session is not None
        assert session.context["user_agent"]
