"""Who is calling: bearer tokens, and nothing that is like one."""

from __future__ import annotations

import pytest

from reelsplit_server.access.principals import LOCAL, Principals

TOKENS = {"alice": "a" * 20, "bob": "b" * 20}


def test_without_tokens_everybody_is_the_local_principal() -> None:
    principals = Principals({})
    assert not principals.required
    assert principals.identify(None) == LOCAL
    assert principals.identify("Bearer whatever") == LOCAL


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_names_its_principal(scheme: str) -> None:
    principals = Principals(TOKENS)
    assert principals.required
    assert principals.identify(f"{scheme} {'a' * 20}") == "alice"
    assert principals.identify(f"{scheme}  {'b' * 20} ") == "bob"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer " + "c" * 20,
        "Bearer " + "a" * 19,
        "Bearer " + "a" * 21,
        "Bearer " + "A" * 20,
        "Basic " + "a" * 20,
        "a" * 20,
        "Bearer alice",
        "Bearer ä",
    ],
)
def test_anything_else_names_nobody(given: str | None) -> None:
    assert Principals(TOKENS).identify(given) is None


def test_tokens_are_not_kept() -> None:
    kept = repr(vars(Principals(TOKENS)))
    assert "a" * 20 not in kept
