"""A person who was erased is in no file of a service: ledger, records of requests, webhooks."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from sessionledger.server.http.schemas import NewSession
from sessionledger.webhooks.endpoint_file import EndpointFile
from sessionledger.webhooks.endpoints import new_endpoint
from tests.server.served import ALL_SCOPES, Served, make_key
from tests.webhooks.receiving import Receiver

PERSON: dict[str, Any] = {
    "principal": 'zoë "zo" o\'hara\\例え',
    "external_id": "crm-47119911",
    "attributes": {"city": "Gänserndorf/Ost", 'ключ "k"': ["Wonderland", 1]},
    "context": {"device": "Zoë's phone", "ip": "10.1.2.3"},
    "reason": "she asked for it",
}
TEXTS = (
    *(PERSON["principal"], PERSON["external_id"], PERSON["reason"]),
    *("Gänserndorf/Ost", 'ключ "k"', "Wonderland", "Zoë's phone", "10.1.2.3", "she left again"),
)
NOBODY = "sha256:v1:" + "0" * 64


def forms(text: str) -> set[bytes]:
    """A text in each encoding in which something of this package or below it may write it."""
    plain = text.encode()
    json_texts = (json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (False, True))
    coded = (b64encode(b" " * n + plain)[4 * (n > 0) : -4] for n in range(3))
    escaped = (quote(text).encode(), repr(text)[1:-1].encode(), text.encode("utf-16-le"))
    return {plain, plain.hex().encode(), *(t.encode() for t in json_texts), *coded, *escaped}


def request_hash(document: dict[str, Any]) -> bytes:
    """What somebody would try who guesses a whole request."""
    guess = msgspec.json.encode(msgspec.convert(document, NewSession), order="sorted")
    return sha256(guess).hexdigest().encode()


@pytest.mark.middle
@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_no_file_of_a_service_has_a_byte_of_who_was_erased(kind: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger" if kind == "sqlite" else f"file:{tmp_path}/ledger"
    key = make_key(tmp_path, "root", *ALL_SCOPES, "sessions:erase", ledger=url)
    refused = PERSON | {"parent": NOBODY}
    with Receiver().running() as receiver:
        EndpointFile(tmp_path / "hooks").add(new_endpoint(receiver.url, allow="localhost"))
        options = ("--ledger", url, "--webhooks", str(tmp_path / "hooks"), "--no-access-log")
        with Served(tmp_path, *options) as served:

            def post(document: dict[str, Any], name: str) -> int:
                headers = {"Idempotency-Key": name}
                answer = served.call("POST", "/v1/sessions", key, json=document, headers=headers)
                return answer.status_code

            receiver.answers = [500]
            assert [post(PERSON, "first"), post(PERSON, "first"), post(PERSON, "more")] == [201] * 3
            assert post(refused, "refused") == 422
            made = served.create(key, PERSON["principal"])
            end = f"/v1/sessions/{made['handle']}?reason=she%20left%20again"
            assert served.call("DELETE", end, key).status_code == 200
            receiver.wait_for(3)
            held = everything(tmp_path)
            assert all(any(form in held for form in forms(text)) for text in TEXTS)
            told = {"principal": PERSON["principal"]}
            answer = served.call("POST", "/v1/erasures", key, json=told)
            assert answer.json()["pending"] == []
            assert not found(tmp_path)
        assert not found(tmp_path)
    hashes = [request_hash(document) for document in (PERSON, refused)]
    assert not [one for one in hashes if one in everything(tmp_path)]


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def found(folder: Path) -> list[str]:
    held = everything(folder)
    return [text for text in TEXTS if any(form in held for form in forms(text))]
