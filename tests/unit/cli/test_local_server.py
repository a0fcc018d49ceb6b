from __future__ import annotations

import json

import pytest

from reelsplit.cli.local_server import _environment, last_words


def test_the_last_error_of_the_log_is_what_counts() -> None:
    lines = [
        json.dumps({"level": "info", "event": "starting"}),
        json.dumps({"level": "error", "event": "cannot listen", "error": "address in use"}),
        json.dumps({"level": "info", "event": "ending"}),
    ]
    assert last_words(lines) == "cannot listen: address in use"


def test_a_trace_ends_in_its_reason() -> None:
    lines = ["Traceback (most recent call last):", "ImportError: cannot import x", ""]
    assert last_words(lines) == "ImportError: cannot import x"


def test_an_empty_log_says_nothing() -> None:
    assert last_words([]) == ""


def test_settings_pass_and_credentials_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELSPLIT_WORKERS", "3")
    monkeypatch.setenv("REELSPLIT_TOKEN", "mine")
    monkeypatch.setenv("REELSPLIT_TLS_CERT", "x")
    made = _environment("one-off")
    assert made["REELSPLIT_WORKERS"] == "3"
    assert "REELSPLIT_TOKEN" not in made
    assert "REELSPLIT_TLS_CERT" not in made
    assert json.loads(made["REELSPLIT_TOKENS"]) == {"local": "one-off"}
