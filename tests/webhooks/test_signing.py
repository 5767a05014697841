from __future__ import annotations

import time
from base64 import b64decode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from sessionledger.webhooks.signing import headers, new_secret

NOW = 1_674_087_231


def test_the_example_of_the_specification() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
    assert signed == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_secret_is_long_and_never_the_same() -> None:
    one, other = new_secret(), new_secret()
    assert one != other
    assert one.startswith("whsec_")
    assert len(b64decode(one.removeprefix("whsec_"))) == 32


@given(text=st.text(max_size=50))
def test_the_reference_library_agrees(text: str) -> None:
    secret = new_secret()
    body = text.encode(errors="replace")
    signed = headers(secret, "msg_1", NOW, body)
    expected = Webhook(secret).sign("msg_1", datetime.fromtimestamp(NOW, UTC), body.decode())
    assert signed["webhook-signature"] == expected


def test_what_was_changed_does_not_hold() -> None:
    secret = new_secret()
    signed = headers(secret, "msg_1", int(time.time()), b'{"a":1}')
    Webhook(secret).verify(b'{"a":1}', signed)
    for body, other in ((b'{"a":2}', secret), (b'{"a":1}', new_secret())):
        with pytest.raises(WebhookVerificationError):
            Webhook(other).verify(body, signed)
