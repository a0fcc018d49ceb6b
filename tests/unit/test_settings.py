"""Settings: where they come from, what is refused, and that refusals can be read."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from reelsplit_server.main import main, read_settings
from reelsplit_server.settings import Settings

TOKEN = "0123456789abcdef-secret"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("REELSPLIT_"):
            monkeypatch.delenv(name)


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What ``reelsplit serve`` says on wrong usage: one line."""
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err
    return said.err


# --- Safety ----------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.8.8:1", "localhost:50051", "[::1]:50051"])
def test_loopback_needs_no_credentials(listen: str) -> None:
    assert Settings(listen=listen).loopback


OPEN = ["0.0.0.0:1", "[::]:1", "192.168.0.1:1", "example.com:1", "localhost.example.com:1"]


@pytest.mark.parametrize("listen", OPEN)
def test_beyond_loopback_credentials_are_needed(
    listen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--allow-insecure-listen" in _refused(capsys, "--listen", listen)


def test_tokens_alone_are_not_enough() -> None:
    with pytest.raises(ValidationError, match="without TLS"):
        Settings(listen="0.0.0.0:1", tokens={"me": TOKEN})


@pytest.mark.parametrize("who", [{"tokens": {"me": TOKEN}}, {"tls_client_ca": "ca.pem"}])
def test_tls_with_tokens_or_client_certificates_is_enough(who: dict[str, object]) -> None:
    assert Settings(listen="0.0.0.0:1", tls_certificate="c.pem", tls_key="k.pem", **who)


def test_insecure_listening_can_be_asked_for_by_name() -> None:
    assert Settings(listen="0.0.0.0:1", allow_insecure_listen=True)
    assert read_settings(["--listen", "0.0.0.0:1", "--allow-insecure-listen"])


@pytest.mark.parametrize(
    "half",
    [
        {"tls_certificate": "cert.pem"},
        {"tls_key": "key.pem"},
        {"tls_client_ca": "ca.pem"},
    ],
)
def test_the_parts_of_tls_need_each_other(half: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="--tls-certificate"):
        Settings(**half)


# --- Wrong values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "50051"], "--listen write HOST:PORT"),
        (["--listen", "127.0.0.1"], "--listen write HOST:PORT"),
        (["--listen", "127.0.0.1:http"], "--listen write HOST:PORT"),
        (["--listen", "127.0.0.1:70000"], "--listen write HOST:PORT"),
        (["--listen", ":50051"], "--listen write HOST:PORT"),
        (["--listen", "127.0.0.1:٥"], "--listen write HOST:PORT"),
        (["--root", "/dev/null"], "--root /dev/null is not a folder"),
        (["--root", "/etc/passwd"], "--root /etc/passwd is not a folder"),
        (["--workers", "0"], "--workers"),
        (["--workers", "many"], "--workers"),
        (["--tries", "0"], "--tries"),
        (["--max-ranges", "0"], "--max-ranges"),
        (["--grace", "-1"], "--grace"),
        (["--log-level", "loud"], "--log-level"),
        (["--job-timeout", "soon"], "--job-timeout"),
        (["--max-message-bytes", "1"], "--max-message-bytes"),
        (["--callback-networks", "inside"], "--callback-networks inside is no network"),
        (["--callback-hosts", "a/b"], "--callback-hosts 'a/b' is no host"),
        (["--callback-job-event", "two words"], "--callback-job-event an event's name"),
        (["--callback-job-event", "A", "--callback-segment-event", "A"], "are the same"),
        (["--callback-retries", "never"], "--callback-retries"),
    ],
)
def test_a_wrong_flag_is_told_in_a_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in _refused(capsys, *arguments)


def test_an_unknown_flag_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--nonsense", "1"])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "tokens", ['{"me": "short-secret"}', '{"me": "%s", "you": "%s"}', "{broken-secret", '["x"]']
)
def test_wrong_tokens_are_refused_without_showing_them(
    tokens: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REELSPLIT_TOKENS", tokens.replace("%s", TOKEN))
    said = _refused(capsys)
    assert "tokens" in said
    assert "secret" not in said


def test_tokens_do_not_show_in_the_settings() -> None:
    assert TOKEN not in repr(Settings(tokens={"me": TOKEN}))


# --- Sources ---------------------------------------------------------------------------------


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "reelsplit.toml"
    config.write_text('workers = 3\ntries = 7\nlog_level = "debug"\nmax_ranges = 5\n')
    monkeypatch.setenv("REELSPLIT_CONFIG", str(config))
    monkeypatch.setenv("REELSPLIT_TRIES", "8")
    monkeypatch.setenv("REELSPLIT_MAX_RANGES", "6")
    settings = read_settings(["--max-ranges", "9"])
    assert (settings.workers, settings.tries, settings.max_ranges) == (3, 8, 9)
    assert settings.log_level == "debug"


def test_an_unknown_name_in_the_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "reelsplit.toml"
    config.write_text("wrokers = 3\n")
    monkeypatch.setenv("REELSPLIT_CONFIG", str(config))
    assert "wrokers" in _refused(capsys)


@pytest.mark.parametrize("text", ["workers = ", "\x00", "workers = 'x'"])
def test_a_file_that_cannot_be_read_is_told_in_a_line(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "reelsplit.toml"
    config.write_text(text)
    monkeypatch.setenv("REELSPLIT_CONFIG", str(config))
    assert _refused(capsys)


def test_a_missing_file_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REELSPLIT_CONFIG", str(tmp_path / "missing.toml"))
    assert "missing.toml" in _refused(capsys)


def test_tokens_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELSPLIT_TOKENS", f'{{"me": "{TOKEN}"}}')
    tokens = read_settings([]).tokens
    assert {name: token.get_secret_value() for name, token in tokens.items()} == {"me": TOKEN}


def test_roots_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    settings = read_settings(["--root", str(tmp_path / "a"), "--root", str(tmp_path / "b")])
    assert settings.root == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize(
    ("given", "root"), [(".", "here"), ("../there", "there"), ("./", "here"), ("..", "")]
)
def test_a_relative_root_means_the_folder_that_it_names(
    given: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert read_settings(["--root", given]).root == [tmp_path / root if root else tmp_path]


def test_times_are_seconds_or_iso_8601() -> None:
    assert read_settings(["--job-timeout", "90"]).job_timeout == timedelta(seconds=90)
    assert read_settings(["--job-timeout", "PT2M"]).job_timeout == timedelta(minutes=2)


def test_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    missing = [n for n in Settings.model_fields if f"--{n.replace('_', '-')}" not in text]
    assert missing == []
