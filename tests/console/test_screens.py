"""The screens about sessions, keys and webhooks: what they show, and what each action does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from sessionledger import IssuedSession, SessionStore
from sessionledger.server.service.keys import SCOPES
from sessionledger.testing.fixtures import until
from tests.console.running import Running, Visitor
from tests.server.served import make_key

HOUR = timedelta(hours=1)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
EVIL = "</td><script>document.title='cracked'</script>"
_FIND = """
import sys
from sessionledger import SessionStore
with SessionStore.open(sys.argv[1]) as store:
    print(store.find(handle=sys.argv[2]) is not None)
"""


def create(store: SessionStore, principal: str, **more: object) -> IssuedSession:
    context = {"user_agent": FIREFOX, "address": "192.0.2.7"}
    given = {"ttl": HOUR, "context": context, **more}
    return store.create(principal, **given)  # type: ignore[arg-type]


def is_live_elsewhere(folder: Path, handle: str) -> bool:
    """Whether another process finds it live."""
    command = [sys.executable, "-c", _FIND, f"sqlite:///{folder / 'sessions.db'}", handle]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


def sessions_in(text: str) -> list[str]:
    """The handles of the sessions that a page links, in order."""
    return list(dict.fromkeys(re.findall(r'href="/sessions/(sha256:v1:[0-9a-f]{64})"', text)))


def as_key(running: Running, folder: Path, name: str, *scopes: str) -> Visitor:
    visitor = Visitor(running.url)
    assert visitor.log_in(make_key(folder, name, *scopes)).status_code == 303
    return visitor


def test_sessions_are_searched_and_shown_newest_first(
    visitor: Visitor, store: SessionStore
) -> None:
    made = [create(store, "searched", external_id=f"found-{n}").handle for n in range(3)]
    store.revoke(handle=made[1])
    page = visitor.get("/sessions?principal=searched").text
    assert sessions_in(page) == [made[2], made[0]]
    assert "Firefox on Linux" in page
    assert "192.0.2.7" in page
    assert sessions_in(visitor.get("/sessions?principal=searched&state=all").text) == made[::-1]
    assert sessions_in(visitor.get("/sessions?principal=searched&state=ended").text) == [made[1]]
    assert sessions_in(visitor.get("/sessions?external_id=found-2").text) == [made[2]]
    by_address = visitor.get("/sessions?address=192.0.2.0/24&principal=searched").text
    assert sessions_in(by_address) == [made[2], made[0]]
    assert visitor.get(f"/sessions?handle={made[0]}").headers["location"] == f"/sessions/{made[0]}"
    for wrong in ("address=nowhere", "state=gone", "after=x"):
        answer = visitor.get(f"/sessions?{wrong}")
        assert answer.status_code == 400
        assert 'role="alert"' in answer.text


def test_pages_of_a_search_tell_all_once(visitor: Visitor, store: SessionStore) -> None:
    made = [create(store, "many").handle for _ in range(120)]
    found: list[str] = []
    path: str | None = "/sessions?principal=many"
    while path:
        page = visitor.get(path).text
        found += sessions_in(page)
        following = re.search(r'href="(/sessions\?[^"]*after=[^"]*)"', page)
        path = following[1].replace("&amp;", "&") if following else None
    assert found == made[::-1]


def test_a_session_is_shown_ended_and_exported(
    visitor: Visitor, store: SessionStore, folder: Path
) -> None:
    made = create(store, "shown", attributes={"role": "operator"}, actor="login")
    store.patch(made.token, {"role": "admin"}, reason="promoted")
    child = create(store, "agent", parent=made.handle)
    page = visitor.get(f"/sessions/{made.handle}").text
    for told in ("shown", "Firefox on Linux", "promoted", "login", "Began", "Changed", "role"):
        assert told in page
    answer = visitor.post(f"/sessions/{made.handle}/end", csrf=visitor.csrf(), reason="stolen")
    assert answer.status_code == 303
    assert "The%20session%20is%20ended." in answer.headers["set-cookie"]
    assert not is_live_elsewhere(folder, made.handle)
    assert not is_live_elsewhere(folder, child.handle)
    *_, end = store.history(handle=made.handle)
    assert (end.actor, end.reason, end.cause) == ("ops", "stolen", "revoked")
    exported = visitor.get(f"/sessions/{made.handle}/export")
    assert exported.headers["content-disposition"].startswith("attachment")
    told = exported.json()
    assert [one["kind"] for one in told["events"]] == [
        entry.kind for entry in store.history(handle=made.handle)
    ]
    assert all("harn.provenance.record_hash" in one["headers"] for one in told["events"])
    assert store.verify(expect=told["head"]).ok
    assert made.token not in exported.text


def test_what_is_no_session_is_told(visitor: Visitor) -> None:
    unknown = f"sha256:v1:{'0' * 64}"
    assert visitor.get(f"/sessions/{unknown}").status_code == 404
    assert visitor.get(f"/sessions/{unknown}/export").status_code == 404
    assert visitor.post(f"/sessions/{unknown}/end", csrf=visitor.csrf()).status_code == 404
    assert visitor.get("/sessions/alice").status_code in (400, 422)


def test_a_principal_is_shown_as_a_tree_and_ended(
    visitor: Visitor, store: SessionStore, folder: Path
) -> None:
    first, second = create(store, "tree"), create(store, "tree")
    child = create(store, "tree", parent=first.handle)
    rotated = store.rotate(second.token)
    assert rotated is not None
    page = visitor.get("/principal?name=tree").text
    logins = sessions_in(page.partition("What happened")[0])
    assert logins == [rotated.handle, first.handle, child.handle]
    assert "Child, level 1" in page
    kept = visitor.post(
        "/principal/end", csrf=visitor.csrf(), name="tree", keep=rotated.handle, reason="lost"
    )
    assert kept.status_code == 303
    assert is_live_elsewhere(folder, rotated.handle)
    assert not is_live_elsewhere(folder, first.handle)
    visitor.post("/principal/end", csrf=visitor.csrf(), name="tree")
    assert not is_live_elsewhere(folder, rotated.handle)
    ended = visitor.get("/principal?name=tree&ended=true").text
    assert sessions_in(ended.partition("What happened")[0])
    assert visitor.post("/principal/end", csrf=visitor.csrf(), name="").status_code == 400


def test_an_incident_is_counted_confirmed_and_ended(
    visitor: Visitor, store: SessionStore, folder: Path
) -> None:
    context = {"address": "203.0.113.9"}
    made = [create(store, f"victim {n}", context=context).handle for n in range(3)]
    other = create(store, "victim 9").handle
    answer = visitor.post("/incident/count", csrf=visitor.csrf(), address_in="203.0.113.0/24")
    assert answer.status_code == 303
    until(lambda: "What was counted" in visitor.get("/incident").text)
    page = visitor.get("/incident").text
    assert sessions_in(page) == made[::-1]
    begun_at = re.search(r'name="begun_at" value="([^"]+)"', page)
    assert begun_at is not None
    form = {"csrf": visitor.csrf(), "begun_at": begun_at[1].replace("&#43;", "+")}
    assert visitor.post("/incident/end", **form, typed="4").status_code == 400
    assert visitor.post("/incident/end", **form | {"begun_at": "x"}, typed="3").status_code == 400
    assert is_live_elsewhere(folder, made[0])
    assert visitor.post("/incident/end", **form, typed="3", reason="breach").status_code == 303
    until(lambda: "ended 3 logins" in visitor.get("/incident").text)
    assert not any(is_live_elsewhere(folder, handle) for handle in made)
    assert is_live_elsewhere(folder, other)
    assert [(e.actor, e.reason) for e in store.history(kind="selection_revoked")] == [
        ("ops", "breach")
    ]


@pytest.mark.parametrize(
    "form",
    [{}, {"address_in": "nowhere"}, {"begun_after": "soon"}, {"attributes": "role"}],
    ids=str,
)
def test_criteria_that_can_t_be_are_refused(visitor: Visitor, form: dict[str, str]) -> None:
    answer = visitor.post("/incident/count", csrf=visitor.csrf(), **form)
    assert answer.status_code in (400, 422)


def test_everybody_is_logged_out_by_a_typed_word(
    visitor: Visitor, store: SessionStore, folder: Path
) -> None:
    made = create(store, "everybody").handle
    assert visitor.post("/incident/everybody", csrf=visitor.csrf(), typed="x").status_code == 400
    assert is_live_elsewhere(folder, made)
    assert visitor.post(
        "/incident/everybody", csrf=visitor.csrf(), typed="everybody", reason="breach"
    ).is_redirect
    assert not is_live_elsewhere(folder, made)


def test_a_key_is_made_shown_once_and_ended(
    visitor: Visitor, running: Running, folder: Path
) -> None:
    form = {"csrf": visitor.csrf(), "name": "helpdesk", "days": "7", "scope": "sessions:read"}
    page = visitor.post("/keys", **form).text
    made = re.search(r'id="key" class="mono" readonly value="([^"]+)"', page)
    assert made is not None
    assert made[1] not in visitor.get("/keys").text
    helpdesk = Visitor(running.url)
    assert helpdesk.log_in(made[1]).status_code == 303
    assert helpdesk.get("/sessions").status_code == 200
    assert visitor.post("/keys", **form).status_code == 400
    assert visitor.post("/keys", **form | {"name": "other", "days": "0"}).status_code == 400
    assert visitor.post("/keys", **form | {"name": "no name"}).status_code == 400
    listed = visitor.get("/keys").text
    handle = re.search(r"helpdesk.*?/keys/(sha256:v1:[0-9a-f]{64})/end", listed, re.DOTALL)
    assert handle is not None
    visitor.post(f"/keys/{handle[1]}/end", csrf=visitor.csrf())
    assert helpdesk.get("/sessions").headers["location"] == "/login"


def test_a_key_makes_none_that_may_do_more(running: Running, folder: Path) -> None:
    weak = as_key(running, folder, "weak", "keys:read", "keys:write")
    form = {"csrf": weak.csrf(), "name": "strong", "days": "7", "scope": "sessions:erase"}
    answer = weak.post("/keys", **form)
    assert answer.status_code == 400
    assert "without sessions:erase" in answer.text
    assert "sessions:erase" not in weak.get("/keys").text.partition("Make a key")[2]


def test_a_webhook_is_added_tested_and_removed(visitor: Visitor) -> None:
    form = {
        "csrf": visitor.csrf(),
        "url": "https://hooks.example/secret",
        "type": "session.expired",
    }
    page = visitor.post("/webhooks", **form).text
    secret = re.search(r'value="(whsec_[^"]+)"', page)
    assert secret is not None
    listed = visitor.get("/webhooks").text
    assert "hooks.example" in listed
    assert secret[1] not in listed
    assert "/secret" not in listed
    id = re.search(r"/webhooks/([0-9a-f]{12})/test", listed)
    assert id is not None
    tested = visitor.post(f"/webhooks/{id[1]}/test", csrf=visitor.csrf())
    assert "Nothing%20was%20answered" in tested.headers["set-cookie"]
    assert visitor.post(f"/webhooks/{id[1]}/enable", csrf=visitor.csrf()).status_code == 303
    assert visitor.post(f"/webhooks/{id[1]}/end", csrf=visitor.csrf()).status_code == 303
    assert "hooks.example</bdi></td>" not in visitor.get("/webhooks").text
    for what in ("test", "enable", "end"):
        assert visitor.post(f"/webhooks/{id[1]}/{what}", csrf=visitor.csrf()).status_code == 404
    private = visitor.post("/webhooks", **form | {"url": "http://127.0.0.1/"})
    assert private.status_code == 400


PAGES = {
    "/sessions": "sessions:read",
    "/principal?name=alice": "sessions:read",
    "/incident": "sessions:revoke_everybody",
    "/keys": "keys:read",
    "/webhooks": "webhooks:read",
}
ACTIONS = {
    "/sessions/{}/end": "sessions:revoke",
    "/principal/end": "sessions:revoke",
    "/incident/count": "sessions:revoke_everybody",
    "/incident/end": "sessions:revoke_everybody",
    "/incident/everybody": "sessions:revoke_everybody",
    "/keys": "keys:write",
    "/keys/{}/end": "keys:write",
    "/webhooks": "webhooks:write",
    "/webhooks/0123456789ab/test": "webhooks:write",
    "/webhooks/0123456789ab/enable": "webhooks:write",
    "/webhooks/0123456789ab/end": "webhooks:write",
}


@pytest.fixture(scope="module")
def without(running: Running, folder: Path, key: str) -> dict[str, Visitor]:
    """Browsers of keys that may do all but one thing."""
    lacking = {*PAGES.values(), *ACTIONS.values()}
    return {
        scope: as_key(running, folder, f"all-but-{n}", *(set(SCOPES) - {scope}))
        for n, scope in enumerate(sorted(lacking))
    }


@pytest.mark.parametrize("path", PAGES)
def test_a_page_takes_its_scope(without: dict[str, Visitor], path: str) -> None:
    visitor = without[PAGES[path]]
    assert visitor.get(path).status_code == 403
    assert f'href="{path}"' not in visitor.get("/").text


@pytest.mark.parametrize("path", ACTIONS)
def test_an_action_takes_its_scope(
    without: dict[str, Visitor], store: SessionStore, path: str
) -> None:
    made = create(store, "alice").handle
    visitor = without[ACTIONS[path]]
    form = {"csrf": visitor.csrf(), "name": "alice", "typed": "everybody"}
    assert visitor.post(path.format(made), **form).status_code == 403
    assert store.find(handle=made) is not None


@pytest.mark.parametrize("page", ["/sessions/{}", "/principal?name=alice", "/keys", "/webhooks"])
def test_what_a_key_may_not_do_is_not_offered(
    running: Running, folder: Path, store: SessionStore, page: str
) -> None:
    made = create(store, "alice").handle
    name = f"looks-{abs(hash(page))}"
    reader = as_key(running, folder, name, "sessions:read", "keys:read", "webhooks:read")
    text = reader.get(page.format(made)).text
    assert re.findall(r'<form method="post" action="([^"]+)"', text) == ["/logout"]


def test_what_an_attacker_says_is_text(visitor: Visitor, store: SessionStore) -> None:
    attributes = {EVIL: EVIL, "long": "x" * 60_000}
    context = {"user_agent": EVIL + "A" * 300, "address": EVIL}
    evil = store.create(
        EVIL, ttl=HOUR, attributes=attributes, context=context, external_id=EVIL, reason=EVIL
    )
    for path in (
        "/sessions",
        f"/sessions/{evil.handle}",
        f"/principal?name={quote(EVIL)}",
        f"/sessions?principal={quote(EVIL)}",
        "/",
    ):
        page = visitor.get(path).text
        assert "<script>document" not in page
        assert "cracked" in page
    told = json.loads(visitor.get(f"/sessions/{evil.handle}/export").text)
    assert told["session"]["principal"] == EVIL
