"""Page and resume tokens: good for what they were made for, and for nothing else."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit_server.app.errors import AppError
from reelsplit_server.app.tokens import Sealer

SEALER = Sealer(b"k" * 32)
BOUND = ("me", "job")
TOKEN = SEALER.seal("watch", BOUND, [7])


def _refused(purpose: str, bound: tuple[str, ...], token: str, sealer: Sealer = SEALER) -> None:
    with pytest.raises(AppError) as caught:
        sealer.open(purpose, bound, token, "resume_token")
    assert caught.value.reason == "INVALID_TOKEN"
    assert caught.value.metadata == {"field": "resume_token"}


@given(st.lists(st.integers(0, 2**62) | st.text(max_size=40), max_size=3))
def test_a_token_gives_back_what_it_holds(values: list[int | str]) -> None:
    token = SEALER.seal("list", BOUND, values)
    assert SEALER.open("list", BOUND, token, "page_token") == values
    assert set(token) <= set(string.ascii_letters + string.digits + "-_")


@pytest.mark.parametrize(
    ("purpose", "bound"),
    [
        ("list", BOUND),
        ("watch-all", BOUND),
        ("watch", ("them", "job")),
        ("watch", ("me", "other")),
        ("watch", ("me",)),
        ("watch", ("me", "job", "")),
        ("watch", ("me job",)),
    ],
)
def test_a_token_is_bound_to_purpose_caller_and_filter(
    purpose: str, bound: tuple[str, ...]
) -> None:
    _refused(purpose, bound, TOKEN)


def test_a_token_of_another_database_is_refused() -> None:
    _refused("watch", BOUND, TOKEN, Sealer(b"x" * 32))


@pytest.mark.parametrize("place", range(0, len(TOKEN) - 1, 2))
def test_a_token_that_was_changed_is_refused(place: int) -> None:
    other = "A" if TOKEN[place] != "A" else "B"
    _refused("watch", BOUND, TOKEN[:place] + other + TOKEN[place + 1 :])


@pytest.mark.parametrize(
    "token",
    [
        *("x", "ä", "\0", "=", "====", "7", " " + TOKEN, TOKEN[:-1], TOKEN + "AAAA", TOKEN * 2),
        *("A" * 16, "A" * 10_000, base64.b64encode(b"[7]").decode()),
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    _refused("watch", BOUND, token)
