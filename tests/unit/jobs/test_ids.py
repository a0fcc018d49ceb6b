"""The ids that the server gives."""

from __future__ import annotations

import re

import pytest

from reelsplit_server.jobs.ids import new_id


def test_an_id_is_32_digits_and_no_other_is_like_it() -> None:
    made = {new_id() for _ in range(10_000)}
    assert len(made) == 10_000
    assert all(re.fullmatch(r"[0-9a-f]{32}", item) for item in made)


def test_what_was_made_later_stands_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000_000_000_000
    monkeypatch.setattr("time.time_ns", lambda: now)
    made = []
    for step in (1_000, 10**6, 10**9, 10**15, 10**18):
        made.append(new_id())
        now += step
    assert made == sorted(made)
