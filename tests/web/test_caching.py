"""What an answer says to caches, merged with what the application says."""

from __future__ import annotations

import pytest

from sessionledger.web.caching import keep_private, vary_by_credentials


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], "Cookie, Authorization"),
        ([""], "Cookie, Authorization"),
        (["Accept"], "Accept, Cookie, Authorization"),
        (["Accept, cookie", "AUTHORIZATION"], "Accept, Cookie, Authorization"),
        (["Accept, *"], "*"),
    ],
)
def test_vary_names_the_credentials_beside_what_is_said(said: list[str], expected: str) -> None:
    assert vary_by_credentials(said) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], "private"),
        ([""], "private"),
        (["max-age=60"], "max-age=60, private"),
        (["no-cache", "must-revalidate"], "no-cache, must-revalidate, private"),
        (['private="Set-Cookie", max-age=60'], 'private="Set-Cookie", max-age=60, private'),
        (["no-store"], "no-store"),
        (["Private"], "Private"),
        (["public, max-age=60"], "public, max-age=60"),
        (["S-MaxAge=60"], "S-MaxAge=60"),
        (["s-maxage =60"], "s-maxage =60"),
        (["notpublic"], "notpublic, private"),
    ],
)
def test_an_answer_is_private_unless_the_application_decides(
    said: list[str], expected: str
) -> None:
    assert keep_private(said) == expected
