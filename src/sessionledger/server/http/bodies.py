"""Bodies: JSON in the declared media type, decoded strictly into the declared document.

The framework reads a number out of a text where one is expected, which suits a query and not a
body. So a body is decoded here first.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec
from litestar import Request

from sessionledger.server.http.problems import HTTPProblem, in_a_sentence, invalid

JSON = "application/json"

_PLACE = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_MEMBER = re.compile(r"(?:unknown|missing required) field `(.*)`")


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON is what the route says it is, or nothing."""

    async def json(self) -> Any:
        """The body as the document that the route declares. Raises `HTTPProblem`."""
        expected = self.route_handler.parsed_data_field
        assert expected is not None
        declared = getattr(expected.kwarg_definition, "media_type", None) or JSON
        self._check_media_type(str(getattr(declared, "value", declared)))
        return decode(expected.annotation, await self.body())

    def _check_media_type(self, declared: str) -> None:
        given = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != declared:
            raise HTTPProblem(
                415,
                "unsupported_media_type",
                f"Content-Type is {declared} here",
                field="Content-Type",
                headers={"Accept-Patch" if self.method == "PATCH" else "Accept": declared},
            )


def decode(document: Any, body: bytes) -> Any:
    """The document in a body. Raises `HTTPProblem`, which names the member at fault."""
    try:
        return _decoder(document).decode(body)
    except msgspec.DecodeError as error:
        raise _misfit(str(error)) from None
    except RecursionError:
        raise invalid("body", "nests too deep") from None
    except UnicodeDecodeError:
        raise invalid("body", "is not UTF-8") from None


@cache
def _decoder(document: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(document)


def _misfit(said: str) -> HTTPProblem:
    """What msgspec says of a body, with the member that it says it of."""
    where = _MEMBER.search(said) or _PLACE.search(said)
    # What is within a member is the application's own, and named by that member.
    member = "" if where is None else where[1].partition("[")[0]
    problem = _PLACE.sub("", said)
    if "missing required" in problem:
        problem = "is required"
    return invalid(member or "body", in_a_sentence(problem))
