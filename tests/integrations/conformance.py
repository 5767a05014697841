"""What every integration does, whatever the framework: a class to inherit, with a `site` fixture.

The application of each framework answers, as plain text:

    /open                 without asking who is there
    /current              the principal, or `nobody`
    /required             the principal of a live session
    /scoped, /admin, /recent    the same, of what `site` says is needed
    /shared               the same as /current, for shared caches as the application says
    /twice                the principal, asked for before and after the handler ended the session
    GET, POST /logout     logs out
    POST /login?principal=&parent=    logs in, as a child where a parent is named, and answers
                                whose the session is from there on
    POST /logout-everywhere     logs out everywhere, and answers how many log ins that were
    POST /change                changes the credentials
    POST /rotate                rotates
    POST /become?principal=     rotates to somebody
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from sessionledger import ANONYMOUS, InvalidSession, Policy, SessionLedgerError, SessionStore
from sessionledger.integrations.request_session import actor_of
from tests.browser import Browser
from tests.integrations.site import COOKIE, HOST, OWN, POLICY, Answer, Site
from tests.reported import frames_in, shown
from tests.shared_cache import SharedCache

UNKNOWN = "harn_sess_" + "A" * 43
PLAIN = 'Bearer realm="sessionledger"'
INVALID = f'{PLAIN}, error="invalid_token"'
MALFORMED = f'{PLAIN}, error="invalid_request"'
GOOD = "GOOD"

REFUSED: dict[str, tuple[list[tuple[str, str]], int, str]] = {
    "nothing": ([], 401, PLAIN),
    "another scheme": ([("Authorization", "Basic YTpi")], 401, PLAIN),
    "unknown": ([("Authorization", f"Bearer {UNKNOWN}")], 401, INVALID),
    "too short": ([("Authorization", "Bearer x")], 401, INVALID),
    "no token": ([("Authorization", "Bearer")], 400, MALFORMED),
    "empty token": ([("Authorization", "Bearer ")], 400, MALFORMED),
    "two tokens": ([("Authorization", f"Bearer {GOOD} {GOOD}")], 400, MALFORMED),
    "in quotes": ([("Authorization", f'Bearer "{GOOD}"')], 400, MALFORMED),
    "twice": ([("Authorization", f"Bearer {GOOD}")] * 2, 400, MALFORMED),
    "another cookie": ([("Cookie", f"session={GOOD}")], 401, PLAIN),
    "a cookie of no token": ([("Cookie", f"{COOKIE}=x")], 401, INVALID),
    "an empty cookie": ([("Cookie", f"{COOKIE}=")], 401, INVALID),
    "two cookies": ([("Cookie", f"{COOKIE}={GOOD}; {COOKIE}={UNKNOWN}")], 401, PLAIN),
    "bad beside a good cookie": (
        [("Authorization", f"Bearer {UNKNOWN}"), ("Cookie", f"{COOKIE}={GOOD}")],
        *(401, INVALID),
    ),
    "malformed beside a good cookie": (
        [("Authorization", "Bearer a b"), ("Cookie", f"{COOKIE}={GOOD}")],
        *(400, MALFORMED),
    ),
}

OURS: dict[str, dict[str, str]] = {
    "same-origin": {"Sec-Fetch-Site": "same-origin"},
    "its origin": {"Origin": f"https://{HOST}"},
    "its origin with the port": {"Origin": f"https://{HOST}:443"},
    "its origin in capitals": {"Origin": f"HTTPS://{HOST.upper()}"},
    "both": {"Sec-Fetch-Site": "same-origin", "Origin": f"https://{HOST}"},
    "a trusted origin": {"Sec-Fetch-Site": "cross-site", "Origin": "https://pages.test"},
    "a trusted origin with the port": {"Origin": "https://pages.test:443"},
}
THEIRS: dict[str, dict[str, str]] = {
    "nothing said": {},
    "another site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"},
    "a sibling": {"Sec-Fetch-Site": "same-site", "Origin": f"https://evil.{HOST}"},
    "typed in": {"Sec-Fetch-Site": "none"},
    "the two disagree": {"Sec-Fetch-Site": "cross-site", "Origin": f"https://{HOST}"},
    "another origin": {"Origin": "https://evil.test"},
    "an origin that begins alike": {"Origin": f"https://{HOST}.evil.test"},
    "another port": {"Origin": f"https://{HOST}:8443"},
    "its origin without TLS": {"Origin": f"http://{HOST}"},
    "its origin without TLS, at the port of TLS": {"Origin": f"http://{HOST}:443"},
    "its origin as a name of a user": {"Origin": f"https://{HOST}@evil.test"},
    "its origin twice": {"Origin": f"https://{HOST}, https://{HOST}"},
    "no origin": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "trusted by another scheme": {"Origin": "http://pages.test"},
    "a referrer": {"Referer": f"https://{HOST}/"},
}

CHANGING = (
    *("/logout", "/logout-everywhere", "/rotate", "/change"),
    *("/login?principal=mallory", "/become?principal=mallory"),
)


def cookie_of(token: str, seconds: int) -> list[str]:
    """The parts of the cookie, the first of which is first."""
    rest = [f"Max-Age={seconds}", "Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    return [f"{COOKIE}={token}", *sorted(rest)]


def parts_of(cookie: str | None) -> list[str]:
    """Attributes come in any order."""
    assert cookie is not None
    first, *rest = cookie.split("; ")
    return [first, *sorted(rest)]


def is_browsers(cookie: str) -> bool:
    """Whether it is a cookie that only a browser gets to see, whatever its value and its age."""
    first, http_only, age, *rest = parts_of(cookie)
    named = first.startswith(f"{COOKIE}=") and age.startswith("Max-Age=")
    return named and [http_only, *rest] == ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]


def is_refused(answer: Answer, status: int, challenge: str | None) -> bool:
    """Whether it is that refusal, which nobody may store and which sets no cookie."""
    assert (answer.status, answer.one("www-authenticate")) == (status, challenge)
    assert answer.one("cache-control") == "no-store"
    return answer.one("set-cookie") is None


class Conformance:
    """Inherit it, and say what `site` is."""

    # Where the token comes from

    def test_a_bearer_and_a_browser_are_let_in(self, site: Site) -> None:
        token = site.create().token
        for path in ("/required", "/current"):
            assert site("GET", path, bearer=token).text == "alice"
            assert site("GET", path, cookie=token).text == "alice"
        assert site("GET", "/required", {"Authorization": f"bEaReR  {token}"}).text == "alice"

    @pytest.mark.parametrize("case", REFUSED)
    def test_whatever_is_not_good_is_refused_as_rfc_6750_says(self, site: Site, case: str) -> None:
        headers, status, challenge = REFUSED[case]
        good = site.create().token
        given = [(name, value.replace(GOOD, good)) for name, value in headers]
        answer = site("GET", "/required", given)
        assert is_refused(answer, status, challenge)
        assert good not in answer.text + str(answer.headers)
        assert (site("GET", "/current", given).text) == "nobody"

    def test_a_bearer_counts_before_a_cookie(self, site: Site) -> None:
        bearer, cookie = site.create("alice").token, site.create("bob").token
        assert site("GET", "/required", bearer=bearer, cookie=cookie).text == "alice"
        other = [("Authorization", "Basic YTpi")]
        assert site("GET", "/required", other, cookie=cookie).text == "bob"

    # What becomes of sessions

    def test_a_revocation_holds_for_the_next_request(self, site: Site) -> None:
        issued = site.create()
        assert site("GET", "/required", cookie=issued.token).status == 200
        site.store.revoke(handle=issued.handle, reason="lost phone")
        assert is_refused(site("GET", "/required", cookie=issued.token), 401, INVALID)
        assert is_refused(site("GET", "/required", bearer=issued.token), 401, INVALID)

    def test_a_session_that_lapsed_is_over(self, site: Site) -> None:
        token = site.create().token
        site.clock.now += timedelta(hours=1)
        assert is_refused(site("GET", "/required", bearer=token), 401, INVALID)

    def test_a_request_counts_as_being_seen(self, site: Site) -> None:
        issued = site.create()
        site.clock.now += timedelta(minutes=30)
        assert site("GET", "/required", bearer=issued.token).status == 200
        session = site.store.find(handle=issued.handle)
        assert session is not None
        assert session.last_seen_at == site.clock.now

    def test_a_token_that_is_used_after_its_grace_ends_the_family(self, site: Site) -> None:
        old = site.create()
        new = site.store.rotate(old.token)
        assert new is not None
        assert site("GET", "/required", bearer=old.token).status == 200
        site.clock.now += timedelta(minutes=2)
        assert is_refused(site("GET", "/required", bearer=old.token), 401, INVALID)
        assert is_refused(site("GET", "/required", bearer=new.token), 401, INVALID)

    def test_the_ledger_is_asked_once_in_a_request(self, site: Site) -> None:
        token = site.create().token
        assert site("GET", "/twice", bearer=token).text == "alice alice"
        assert site("GET", "/current", bearer=token).text == "nobody"

    def test_the_ledger_is_asked_only_when_a_handler_asks(self, site: Site) -> None:
        token = site.create().token
        assert site("GET", "/open").text == "open", "the application is loaded"
        site.log.close()
        assert site("GET", "/open", bearer=token).text == "open"
        assert site("GET", "/required", bearer=token).status == 500
        assert site("GET", "/current", bearer=token).status == 500

    # Caches

    def test_an_answer_that_depends_on_the_session_says_so_to_caches(self, site: Site) -> None:
        token = site.create().token
        for told in ({"Cookie": f"{COOKIE}={token}"}, {"Authorization": f"Bearer {token}"}, {}):
            answer = site("GET", "/current", told)
            assert answer.one("vary") == "Cookie, Authorization"
            assert answer.one("cache-control") == "private"
            answer = site("GET", "/shared", told)
            assert answer.one("vary") == "Accept-Language, Cookie, Authorization"
            assert answer.one("cache-control") == "public, max-age=60"
            answer = site("GET", "/open", told)
            assert (answer.one("vary"), answer.one("cache-control")) == (None, None)
        assert site("GET", "/required").one("vary") == "Cookie, Authorization"
        answer = site("POST", "/login?principal=alice", OWN)
        assert answer.one("vary") == "Cookie, Authorization"

    @pytest.mark.parametrize("reads_vary", [True, False], ids=["vary", "no vary"])
    def test_a_shared_cache_serves_no_users_page_to_another(
        self, site: Site, reads_vary: bool
    ) -> None:
        cache = SharedCache(site.ask, reads_vary)
        users = {name: site.create(name).token for name in ("alice", "bob")}
        paths = ["/current", "/shared"] if reads_vary else ["/current"]
        for path in [*paths, *paths]:
            for name, token in users.items():
                cookie, bearer = (
                    ("Cookie", f"{COOKIE}={token}"),
                    ("Authorization", f"Bearer {token}"),
                )
                assert cache(path, [cookie]).text == name
                assert cache(path, [bearer]).text == name
                assert cache(path, [("Cookie", "theme=dark")]).text == "nobody"
                assert cache("/required", [cookie]).text == name
                assert cache("/required", []).status == 401
                assert cache("/open", [cookie]).text == "open"
        # It did store what it may: the page for everybody, and those that the application shares.
        assert cache.hits == (7 + 7 if reads_vary else 3)

    # What error reports show

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            *(("GET", "/current"), ("GET", "/required"), ("GET", "/recent"), ("POST", "/logout")),
            *(
                ("POST", "/rotate"),
                ("POST", "/change"),
                ("POST", "/logout-everywhere"),
                ("POST", "/become?principal=bob"),
                ("POST", "/login?principal=a"),
            ),
        ],
    )
    @pytest.mark.parametrize("header", ["Cookie", "Authorization"])
    def test_a_report_with_the_locals_of_each_frame_shows_no_token(
        self, site: Site, header: str, method: str, path: str
    ) -> None:
        assert site("GET", "/open").text == "open", "the application is loaded"
        token = site.create().token
        site.log.close()
        credential = f"{COOKIE}={token}" if header == "Cookie" else f"Bearer {token}"
        error = site.raised(method, path, [*OWN.items(), (header, credential)])
        assert isinstance(error, SessionLedgerError)
        assert frames_in(error) > 2
        assert shown(error, token) == []

    # What is needed beside a session

    def test_scopes(self, site: Site) -> None:
        challenge = f'{PLAIN}, error="insufficient_scope", scope="orders:read orders:write"'
        for scope in (None, "orders:read", ["orders:read", "orders:writes"], 7):
            attributes = {} if scope is None else {"scope": scope}
            token = site.create(attributes=attributes).token
            assert is_refused(site("GET", "/scoped", bearer=token), 403, challenge)
        for scope in ("orders:write x orders:read", ["orders:read", "orders:write"]):
            token = site.create(attributes={"scope": scope}).token
            assert site("GET", "/scoped", bearer=token).text == "alice"
        assert is_refused(site("GET", "/scoped"), 401, PLAIN)

    def test_attributes(self, site: Site) -> None:
        challenge = f'{PLAIN}, error="insufficient_scope"'
        for attributes in ({}, {"role": "operator"}, {"role": ["admin"]}, {"admin": "role"}):
            token = site.create(attributes=attributes).token
            assert is_refused(site("GET", "/admin", cookie=token), 403, challenge)
        token = site.create(attributes={"role": "admin"}).token
        assert site("GET", "/admin", cookie=token).text == "alice"

    def test_step_up(self, site: Site) -> None:
        issued = site.create()
        assert site("GET", "/recent", cookie=issued.token).text == "alice"
        site.clock.now += timedelta(minutes=11)
        challenge = f'{PLAIN}, error="insufficient_user_authentication", max_age="600"'
        assert is_refused(site("GET", "/recent", cookie=issued.token), 401, challenge)
        assert site("GET", "/required", cookie=issued.token).text == "alice"
        site.store.reauthenticate(handle=issued.handle, reason="passkey")
        assert site("GET", "/recent", cookie=issued.token).text == "alice"
        assert is_refused(site("GET", "/recent", bearer=UNKNOWN), 401, INVALID)
        assert is_refused(site("GET", "/recent"), 401, PLAIN)

    # Forged requests

    @pytest.mark.parametrize("case", OURS)
    def test_our_own_pages_may_use_the_cookie(self, site: Site, case: str) -> None:
        token = site.create().token
        assert site("POST", "/required", OURS[case], cookie=token).text == "alice"
        assert site("POST", "/current", OURS[case], cookie=token).text == "alice"
        assert site("POST", "/logout", OURS[case], cookie=token).status == 200
        assert site.store.get(token) is None

    @pytest.mark.parametrize("case", THEIRS)
    def test_other_sites_may_not(self, site: Site, case: str) -> None:
        token = site.create().token
        assert is_refused(site("POST", "/required", THEIRS[case], cookie=token), 403, None)
        assert site("POST", "/current", THEIRS[case], cookie=token).text == "nobody"
        for path in CHANGING:
            assert is_refused(site("POST", path, THEIRS[case], cookie=token), 403, None), path
        for path in ("/logout", "/logout-everywhere", "/login?principal=mallory"):
            assert is_refused(site("POST", path, THEIRS[case]), 403, None), path
        assert site.store.authenticate(token) is not None
        assert [one.principal for one in site.store.sessions()] == ["alice"]

    @pytest.mark.parametrize("case", THEIRS)
    def test_a_get_of_another_site_logs_nobody_out(self, site: Site, case: str) -> None:
        token = site.create().token
        assert is_refused(site("GET", "/logout", THEIRS[case], cookie=token), 403, None)
        assert site.store.get(token) is not None

    def test_a_get_of_our_own_pages_logs_out(self, site: Site) -> None:
        token = site.create().token
        assert site("GET", "/logout", OWN, cookie=token).status == 200
        assert site.store.get(token) is None

    @pytest.mark.parametrize("case", THEIRS)
    def test_other_sites_open_no_websocket(self, site: Site, case: str) -> None:
        """As it is seen by whatever answers it in place of an ASGI server."""
        token, key = site.create().token, {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        assert is_refused(site("GET", "/required", THEIRS[case] | key, cookie=token), 403, None)
        assert site("GET", "/required", OWN | key, cookie=token).text == "alice"

    def test_a_client_that_is_no_browser_is_told_what_to_send(self, site: Site) -> None:
        token = site.create().token
        answer = site("POST", "/required", cookie=token)
        assert "Authorization: Bearer" in answer.text
        assert "Sec-Fetch-Site: same-origin" in answer.text

    @pytest.mark.parametrize("modern", [True, False], ids=["modern", "old"])
    @pytest.mark.parametrize(
        "origin",
        [
            *("https://evil.test", f"https://evil.{HOST}", f"https://{HOST}:8443"),
            *(f"http://{HOST}", "null"),
        ],
    )
    def test_a_page_of_another_site_gets_nothing_done(
        self, site: Site, origin: str, modern: bool
    ) -> None:
        browser = Browser(site.ask, f"https://{HOST}", modern=modern)
        own, evil = browser.page(f"https://{HOST}"), browser.page(origin)
        assert evil.submit("/login?principal=mallory").status == 403
        assert own.submit("/login?principal=alice").text == "alice"
        before = browser.cookies.copy()
        for path in CHANGING:
            assert evil.submit(path).status in (401, 403), path
            assert evil.fetch("POST", path).status in (401, 403), path
        for act in (evil.follow, evil.embed, partial(evil.fetch, "GET")):
            assert act("/logout").status == 403
        assert evil.open_socket("/required").status in (401, 403)
        assert browser.cookies == before
        assert own.follow("/required").text == own.fetch("POST", "/required").text == "alice"
        assert own.open_socket("/required").text == "alice"
        assert [one.principal for one in site.store.sessions()] == ["alice"]
        assert own.submit("/logout").text == "nobody"
        assert (browser.cookies, list(site.store.sessions())) == ({}, [])

    @pytest.mark.parametrize("case", THEIRS)
    def test_a_bearer_and_a_reader_need_no_such_thing(self, site: Site, case: str) -> None:
        token = site.create().token
        assert site("POST", "/required", THEIRS[case], bearer=token).text == "alice"
        assert site("GET", "/required", THEIRS[case], cookie=token).text == "alice"
        assert site("POST", "/logout", THEIRS[case], bearer=token).status == 200

    # Logging in

    def test_a_log_in_sets_the_cookie_to_the_letter(self, site: Site) -> None:
        answer = site("POST", "/login?principal=alice", OWN)
        assert (answer.status, answer.text) == (200, "alice")
        assert parts_of(answer.one("set-cookie")) == cookie_of(answer.token, 14 * 24 * 60 * 60)
        assert answer.one("cache-control") == "no-store"
        assert site("GET", "/required", cookie=answer.token).text == "alice"
        assert answer.token.startswith("harn_sess_")

    def test_nobody_is_fixated(self, site: Site) -> None:
        planted = site.create("mallory", attributes={"role": "admin"})
        answer = site("POST", "/login?principal=alice", OWN, cookie=planted.token)
        assert (answer.text, answer.token == planted.token) == ("alice", False)
        assert site.store.get(planted.token) is None
        session = site.store.get(answer.token)
        assert session is not None
        assert (session.attributes, session.family) == ({}, None)

    @pytest.mark.parametrize("cookie", [UNKNOWN, "x", "", "sha256:v1:" + "0" * 64])
    def test_a_log_in_does_not_mind_what_the_browser_has(self, site: Site, cookie: str) -> None:
        answer = site("POST", "/login?principal=alice", OWN, cookie=cookie)
        assert site.store.get(answer.token) is not None

    def test_a_log_in_ends_no_bearers_session(self, site: Site) -> None:
        bearer = site.create("robot").token
        answer = site("POST", "/login?principal=alice", OWN, bearer=bearer)
        assert answer.text == "alice"
        assert site.store.get(bearer) is not None

    def test_the_context_tells_the_browser_and_never_a_token(self, site: Site) -> None:
        agent = "Mozilla/5.0 " + "x" * 300
        token = site("POST", "/login?principal=alice", {**OWN, "User-Agent": agent}).token
        session = site.store.get(token)
        assert session is not None
        assert session.context["user_agent"] == agent[:256]
        assert session.context["address"]
        named = {**OWN, "User-Agent": token}
        again = site("POST", "/login?principal=alice", named, cookie=token)
        session = site.store.get(again.token)
        assert session is not None
        assert session.context["user_agent"] == "harn_sess_..."
        assert site.store.get(token) is None

    def test_a_log_in_below_a_parent_begins_a_child_that_ends_with_it(self, site: Site) -> None:
        phone, before = site.create(attributes={"scope": "watch"}), site.create("visitor")
        path = f"/login?principal=television&parent={phone.handle}"
        answer = site("POST", path, OWN, cookie=before.token)
        assert answer.text == "television"
        child = site.store.get(answer.token)
        assert child is not None
        assert child.parent == phone.handle
        assert site.store.get(before.token) is None
        assert site.store.get(phone.token) is not None
        below = site(
            "POST", f"/login?principal=guest&parent={child.handle}", OWN, cookie=phone.token
        )
        assert site.store.get(phone.token) is not None, "it is above the new session"
        site.store.revoke(handle=phone.handle)
        for token in (answer.token, below.token):
            assert is_refused(site("GET", "/required", cookie=token), 401, INVALID)

    def test_a_log_in_below_no_live_parent_changes_nothing(self, site: Site) -> None:
        over, here = site.create(), site.create()
        site.store.expire(over.token)
        head = site.store.head()
        path = f"/login?principal=television&parent={over.handle}"
        error = site.raised("POST", path, [*OWN.items(), ("Cookie", f"{COOKIE}={here.token}")])
        assert isinstance(error, InvalidSession)
        assert error.field == "parent"
        assert site.store.head() == head

    # Who did it

    def test_the_history_says_who_logged_in_and_out(self, site: Site) -> None:
        visitor = site.create("visitor")
        token = site("POST", "/login?principal=alice", OWN, cookie=visitor.token).token
        rotated = site("POST", "/rotate", OWN, cookie=token).token
        become = site("POST", "/become?principal=bob", OWN, cookie=rotated).token
        changed = site("POST", "/change", OWN, cookie=become).token
        site("POST", "/logout", OWN, cookie=changed)
        told = [
            (entry.actor, entry.principal)
            for entry in site.store.history(principal="bob")
            if entry.kind == "session_expired"
        ]
        assert told == [("bob", "bob")] * 2
        assert {one.actor for one in site.store.history(principal="alice")} == {"alice", "bob"}
        assert list(site.store.history(handle=visitor.handle))[-1].actor == "alice"

    def test_a_log_out_everywhere_says_whose_request_it_was(self, site: Site) -> None:
        here, elsewhere = site.create(), site.create()
        site("POST", "/logout-everywhere", OWN, cookie=here.token)
        for session in (here, elsewhere):
            assert list(site.store.history(handle=session.handle))[-1].actor == "alice"

    def test_a_log_out_of_a_principal_that_is_no_actor_is_still_one(self, site: Site) -> None:
        """Other programs write any principal."""
        said = "harn_sess_" + "B" * 43
        written = SessionStore(site.log, policy=Policy.reference(), clock=site.clock)
        long = written.create("x" * 5000)
        site("POST", "/logout", OWN, cookie=long.token)
        entry = list(site.store.history(handle=long.handle))[-1]
        assert (entry.kind, entry.actor) == ("session_expired", "x" * 512)
        assert actor_of(said) == "harn_sess_..."

    # Logging out

    def test_a_log_out_ends_the_session_and_has_the_cookie_forgotten(self, site: Site) -> None:
        issued = site.create()
        answer = site("POST", "/logout", OWN, cookie=issued.token)
        assert answer.text == "nobody"
        assert parts_of(answer.one("set-cookie")) == cookie_of("", 0)
        assert is_refused(site("GET", "/required", cookie=issued.token), 401, INVALID)
        assert list(site.store.history(handle=issued.handle))[-1].reason == "logged out"

    @pytest.mark.parametrize("cookie", [None, UNKNOWN, "x"])
    def test_a_log_out_of_nothing_is_no_error(self, site: Site, cookie: str | None) -> None:
        answer = site("POST", "/logout", OWN, cookie=cookie)
        assert (answer.status, parts_of(answer.one("set-cookie"))) == (200, cookie_of("", 0))

    def test_a_log_out_ends_all_that_the_request_came_with(self, site: Site) -> None:
        bearer, cookie = site.create().token, site.create().token
        assert site("POST", "/logout", bearer=bearer, cookie=cookie).status == 200
        assert (site.store.get(bearer), site.store.get(cookie)) == (None, None)

    def test_a_log_out_everywhere_ends_all_and_has_the_cookie_forgotten(self, site: Site) -> None:
        here, elsewhere, others = site.create(), site.create(), site.create("bob")
        rotated = site.store.rotate(elsewhere.token)
        assert rotated is not None
        answer = site("POST", "/logout-everywhere", OWN, cookie=here.token)
        assert answer.text == "2"
        assert parts_of(answer.one("set-cookie")) == cookie_of("", 0)
        for token in (here.token, elsewhere.token, rotated.token):
            assert is_refused(site("GET", "/required", bearer=token), 401, INVALID)
        assert list(site.store.history(handle=here.handle))[-1].reason == "logged out everywhere"
        assert site.store.get(others.token) is not None

    def test_a_child_can_t_log_out_everywhere_and_is_told_so(self, site: Site) -> None:
        child = site.create("alice", parent=site.create().token)
        cookie = [*OWN.items(), ("Cookie", f"{COOKIE}={child.token}")]
        error = site.raised("POST", "/logout-everywhere", cookie)
        assert isinstance(error, InvalidSession)
        assert "child session" in str(error)
        assert site.store.count() == 2
        assert site("POST", "/logout", OWN, cookie=child.token).status == 200
        assert site.store.count() == 1

    @pytest.mark.parametrize("cookie", [None, UNKNOWN, "x"])
    def test_a_log_out_everywhere_of_nothing_is_no_error(
        self, site: Site, cookie: str | None
    ) -> None:
        answer = site("POST", "/logout-everywhere", OWN, cookie=cookie)
        assert (answer.text, parts_of(answer.one("set-cookie"))) == ("0", cookie_of("", 0))

    # Changing credentials

    def test_a_change_of_credentials_leaves_one_session_with_a_new_cookie(self, site: Site) -> None:
        first, elsewhere = site.create(attributes={"basket": 1}), site.create()
        stolen = site.store.rotate(first.token)
        assert stolen is not None
        site.clock.now += timedelta(seconds=20)
        answer = site("POST", "/change", OWN, cookie=stolen.token)
        assert answer.text == "alice"
        for token in (first.token, stolen.token, elsewhere.token):
            assert is_refused(site("GET", "/required", bearer=token), 401, INVALID)
            assert is_refused(site("POST", "/rotate", bearer=token), 401, INVALID)
        session = site.store.get(answer.token)
        assert session is not None
        assert (session.family, session.attributes) == (None, {"basket": 1})
        assert session.authenticated_at == site.clock.now
        assert [one.handle for one in site.store.sessions(principal="alice")] == [session.handle]

    def test_a_bearers_change_of_credentials_sets_no_cookie(self, site: Site) -> None:
        old = site.create()
        answer = site("POST", "/change", bearer=old.token)
        assert (answer.text, answer.one("set-cookie")) == ("alice", None)
        assert site.store.get(old.token) is None

    def test_only_a_live_session_changes_its_credentials(self, site: Site) -> None:
        assert is_refused(site("POST", "/change", OWN), 401, PLAIN)
        assert is_refused(site("POST", "/change", OWN, cookie=UNKNOWN), 401, INVALID)
        assert is_refused(site("POST", "/change", bearer="x y"), 400, MALFORMED)

    # Rotating

    def test_a_rotation_replaces_the_cookie(self, site: Site) -> None:
        old = site.create(attributes={"basket": 1})
        site.clock.now += timedelta(minutes=10)
        answer = site("POST", "/rotate", OWN, cookie=old.token)
        assert answer.text == "alice"
        assert parts_of(answer.one("set-cookie")) == cookie_of(
            answer.token, 14 * 24 * 60 * 60 - 600
        )
        session = site.store.get(answer.token)
        assert session is not None
        assert (session.family, session.attributes) == (old.handle, {"basket": 1})
        assert site("GET", "/required", cookie=old.token).status == 200, "within its grace"

    def test_a_bearers_rotation_sets_no_cookie(self, site: Site) -> None:
        old = site.create()
        answer = site("POST", "/rotate", bearer=old.token)
        assert (answer.text, answer.one("set-cookie")) == ("alice", None)
        session = site.store.get(old.token)
        assert session is not None
        assert len(session.successors) == 1

    def test_only_a_live_session_is_rotated(self, site: Site) -> None:
        assert is_refused(site("POST", "/rotate", OWN), 401, PLAIN)
        assert is_refused(site("POST", "/rotate", OWN, cookie=UNKNOWN), 401, INVALID)
        assert is_refused(site("POST", "/rotate", bearer="x y"), 400, MALFORMED)

    def test_a_bearer_that_floods_is_bounded_and_its_end_is_final(self, site: Site) -> None:
        """Rotations, as fast as they are answered. Others are served, and the end is an end."""
        mallory, other = site.create("mallory"), site.create()
        token, begun = mallory.token, site.store.head().id
        for _ in range(POLICY.max_rotations_per_minute or 0):
            token = site("POST", "/rotate", OWN, cookie=token).token
        for _ in range(40):
            answer = site("POST", "/rotate", OWN, cookie=token)
            assert (answer.status, answer.one("retry-after")) == (429, "60")
            assert site("GET", "/required", cookie=token).text == "mallory"
            assert site("GET", "/required", bearer=other.token).text == "alice"
        assert site.store.head().id - begun <= 3 * (POLICY.max_rotations_per_minute or 0)
        assert site.store.revoke(handle=mallory.handle) is not None
        for _ in range(3):
            assert is_refused(site("POST", "/rotate", OWN, cookie=token), 401, INVALID)

    def test_an_anonymous_session_is_no_log_in(self, site: Site) -> None:
        scopes = {"scope": "orders:read orders:write admin", "role": "admin"}
        visitor = site.create(ANONYMOUS, attributes=scopes)
        child = site.create("agent", parent=visitor.handle, attributes={})
        assert site("GET", "/current", cookie=visitor.token).text == visitor.principal
        for token in (visitor.token, child.token):
            for path in ("/required", "/scoped", "/admin", "/recent"):
                assert site("GET", path, bearer=token).status == 401
            assert site("POST", "/change", OWN, cookie=token).status == 401
        assert site.store.get(visitor.token) is not None

    def test_a_visitor_becomes_somebody_and_keeps_the_basket(self, site: Site) -> None:
        visitor = site.create(ANONYMOUS, attributes={"basket": ["tea"]})
        answer = site("POST", "/become?principal=alice", OWN, cookie=visitor.token)
        assert answer.text == "alice"
        session = site.store.get(answer.token)
        assert session is not None
        assert (session.principal, session.attributes) == ("alice", {"basket": ["tea"]})
        assert site.store.get(visitor.token) is None, "at once"
