"""Form-encoded bodies, as OAuth sends them."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from sessionledger.server.http.problems import HTTPProblem, invalid
from sessionledger.web.credentials import RawHeaders

FORM = b"application/x-www-form-urlencoded"


def form_in(headers: RawHeaders, body: bytes) -> dict[str, str]:
    """The parameters of a form, each of which is there once (RFC 6749, section 3.1).

    Raises `HTTPProblem`.
    """
    _check_media_type(headers)
    return _parse(body)


def _check_media_type(headers: RawHeaders) -> None:
    given = next((value for name, value in headers if name == b"content-type"), b"")
    if given != FORM and given.partition(b";")[0].strip().lower() != FORM:
        raise HTTPProblem(
            415,
            "unsupported_media_type",
            f"Content-Type is {FORM.decode()} here",
            field="Content-Type",
        )


def _parse(body: bytes) -> dict[str, str]:
    form: dict[str, str] = {}
    try:
        text = body.decode()
        quoted = "%" in text or "+" in text
        for pair in text.split("&"):
            name, _, value = pair.partition("=")
            if quoted:
                name, value = _unquoted(name), _unquoted(value)
            if name in form:
                raise invalid(name, "is there more than once")
            # RFC 6749: without a value it counts as left out.
            if value:
                form[name] = value
    except UnicodeDecodeError:
        raise invalid("body", "is not UTF-8") from None
    return form


def _unquoted(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode()
