"""The commands against a scripted service on a free port."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from reelsplit.cli.main import main
from tests.unit.cli import scripted

COMMANDS = (
    *("split", "shots", "submit", "get", "list", "watch", "cancel", "delete", "retry"),
    *("segments", "serve", "keys", "callbacks"),
)


class Server:
    def __init__(self) -> None:
        self.service = scripted.Scripted()
        self._grpc, self.address = scripted.start(self.service)

    def stop(self) -> None:
        self._grpc.stop(0).wait()

    def request(self, name: str) -> Any:
        return next(request for called, request in self.service.calls if called == name)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def run(server: Server, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--server", server.address])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def lines(out: str) -> list[Any]:
    return [json.loads(line) for line in out.splitlines()]


def test_split_prints_a_table(run: Any) -> None:
    code, out, err = run("split", "ok.mp4", "o/{index}.mp4", "--ranges", "1-2,3-4")
    assert code == 0
    assert "o/1.mp4" in out
    assert "PUBLISHED" in out
    assert "ok: 2 segments" in err


def test_split_as_json(run: Any, server: Server) -> None:
    code, out, err = run("split", "ok.mp4", "o/{index}.mp4", "--ranges", "1-2,3-4", "--json")
    assert (code, err) == (0, "")
    *events, last = lines(out)
    assert all(list(event) == ["event"] for event in events)
    numbers = [int(event["event"]["sequence"]) for event in events]
    assert [number for number in numbers if number] == list(range(1, 12))
    assert list(last) == ["job", "segments"]
    assert last["job"]["state"] == "JOB_STATE_SUCCEEDED"
    assert [segment["uri"] for segment in last["segments"]] == ["o/0.mp4", "o/1.mp4"]
    assert server.request("SubmitJob").spec.input.uri == "ok.mp4"


@pytest.mark.parametrize(
    ("source", "reason", "count"),
    [("missing.mp4", "SOURCE_NOT_FOUND", 0), ("partly.mp4", "SEGMENTS_FAILED", 2)],
)
def test_a_failed_job_still_has_its_last_line(
    run: Any, source: str, reason: str, count: int
) -> None:
    code, out, err = run("split", source, "o/{index}.mp4", "--ranges", "1-2,3-4", "--json")
    last = lines(out)[-1]
    assert code == 1
    assert list(last) == ["job", "segments"]
    assert last["job"]["error"]["reason"] == reason
    assert len(last["segments"]) == count
    assert err.startswith("reelsplit: ")


def test_several_inputs_each_have_a_last_line(run: Any) -> None:
    paths = ["ok1.mp4", "missing.mp4", "ok2.mp4"]
    code, out, err = run("split", *paths, "o/{stem}{index}.mp4", "--every", "1", "--json")
    ends = [line for line in lines(out) if "job" in line]
    assert code == 1
    assert {end["job"]["spec"]["input"]["uri"] for end in ends} == set(paths)
    assert "job" in lines(out)[-1]
    assert err == "reelsplit: missing: there is no file at this path\n"


def test_more_inputs_than_are_followed_at_once(run: Any) -> None:
    paths = [f"ok{number}.mp4" for number in range(20)]
    code, out, _ = run("split", *paths, "o/{stem}{index}.mp4", "--every", "1", "--json")
    assert code == 0
    assert sum("job" in line for line in lines(out)) == 20


def test_what_the_server_refuses_names_the_flags(run: Any) -> None:
    code, out, err = run("split", "ok.mp4", "o/x.mp4", "--ranges", "1-2,4-3", "--json")
    assert code == 2
    (last,) = lines(out)
    assert (last["job"], last["segments"]) == (None, [])
    assert [field["field"] for field in last["error"]["fields"]] == [
        "TEMPLATE",
        "range 1 (0:00:04.000-0:00:03.000)",
    ]
    assert "  TEMPLATE: needs {index}" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["split", "ok.mp4", "o/{index}.mp4"],
        ["split", "ok.mp4", "o/{index}.mp4", "--shots", "--every", "1"],
        ["split", "ok.mp4", "--shots"],
        ["split", "a.mp4", "b.mp4", "o/{index}.mp4", "--shots"],
        ["split", "ok.mp4", "o/{index}.mp4", "--shots", "--no-such-flag"],
        ["split", "ok.mp4", "o/{index}.mp4", "--shots", "--width", "wide"],
        ["split"],
        ["shots"],
        ["shots", "ok.mp4", "--min-shot", "x"],
    ],
)
def test_wrong_usage_as_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--json"]) == 2
    captured = capsys.readouterr()
    (last,) = lines(captured.out)
    assert last["error"]["reason"] == "INVALID_FIELD"
    assert set(last) - {"error"} in ({"job", "segments"}, {"shots"})
    assert captured.err


def test_shots(run: Any, server: Server) -> None:
    code, out, _ = run("shots", "ok.mp4", "--json", "--detector", "content", "--threshold", "30")
    assert code == 0
    *_, last = lines(out)
    assert list(last) == ["shots"]
    assert [shot["startFrame"] for shot in last["shots"]] == [0, 25, 50]
    assert [shot["transition"] for shot in last["shots"]] == ["start", "cut", "cut"]
    sent = server.request("SubmitJob").spec
    assert not sent.HasField("output")
    assert sent.shot_detection.content.threshold == 30


def test_shots_as_a_table(run: Any) -> None:
    code, out, _ = run("shots", "ok.mp4")
    assert code == 0
    assert "First frame" in out


def test_shots_that_fail(run: Any) -> None:
    code, out, _ = run("shots", "missing.mp4", "--json")
    last = lines(out)[-1]
    assert code == 1
    assert last["shots"] == []
    assert last["error"]["reason"] == "SOURCE_NOT_FOUND"


def test_an_address_is_told_by_a_server_that_stays(
    run: Any, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = ("--notify", "https://hooks.example.com/", "--notify-segments")
    assert run("submit", "ok.mp4", "o/{index}.mp4", "--every", "1", *hook)[0] == 0
    sent = server.request("SubmitJob").spec
    assert (sent.notify_url, sent.notify_segments) == ("https://hooks.example.com/", True)
    assert main(["split", "ok.mp4", "o/{index}.mp4", "--every", "1", *hook]) == 2
    assert "--notify: goes with --server only" in capsys.readouterr().err


def test_a_job_by_hand(run: Any, server: Server) -> None:
    code, out, _ = run("submit", "ok.mp4", "o/{index}.mp4", "--every", "1", "--label", "a=b")
    assert code == 0
    job_id = out.strip()
    assert job_id in server.service.jobs
    assert server.request("SubmitJob").spec.labels == {"a": "b"}

    code, out, _ = run("watch", job_id, "--json")
    assert code == 0
    assert lines(out)[-1]["job"]["jobId"] == job_id

    code, out, _ = run("get", job_id)
    assert code == 0
    assert "SUCCEEDED" in out
    code, out, _ = run("get", job_id, "--json")
    assert json.loads(out)["jobId"] == job_id

    code, out, _ = run("list")
    assert code == 0
    assert job_id in out
    code, out, _ = run("list", "--json", "--state", "failed", "--label", "a=b", "--limit", "5")
    assert [job["jobId"] for job in lines(out)] == [job_id]
    sent = server.request("ListJobs")
    assert code == 0
    assert sent.page_size > 0

    code, out, _ = run("segments", job_id, "--json")
    assert [segment["index"] for segment in lines(out)] == [0, 1, 2]
    code, out, _ = run("segments", job_id)
    assert "PUBLISHED" in out

    code, out, _ = run("retry", job_id, "--json")
    assert json.loads(out)["jobId"] == job_id
    code, out, _ = run("cancel", job_id)
    assert code == 0
    assert job_id in out
    code, out, _ = run("delete", job_id, "--outputs", "--json")
    assert json.loads(out) == {"deletedOutputs": 3}
    code, out, _ = run("delete", job_id)
    assert out == "deleted\n"


def test_submit_without_template_only_finds(run: Any, server: Server) -> None:
    code, out, _ = run("submit", "ok.mp4", "--shots", "--json")
    assert code == 0
    assert json.loads(out)["state"] == "JOB_STATE_PENDING"
    assert not server.request("SubmitJob").spec.HasField("output")


def test_submit_names_every_wrong_field(run: Any) -> None:
    code, out, err = run("submit", "ok.mp4", "o/x.mp4", "--shots")
    assert (code, out) == (2, "")
    assert "TEMPLATE" in err


def test_an_unknown_job(run: Any) -> None:
    code, out, err = run("get", "0" * 32)
    assert (code, out) == (1, "")
    assert err == f"reelsplit: there is no job {'0' * 32}\n"
    code, out, _ = run("watch", "0" * 32, "--json")
    assert code == 1
    assert lines(out)[-1]["error"]["reason"] == "JOB_NOT_FOUND"


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    gone = "127.0.0.1:1"
    arguments = ["split", "ok.mp4", "o/{index}.mp4", "--shots", "--json", "--server", gone]
    assert main(arguments) == 3
    captured = capsys.readouterr()
    assert lines(captured.out)[-1]["error"]["reason"] == "UNAVAILABLE"
    assert gone in captured.err


def test_an_unknown_token_is_told(server: Server, run: Any) -> None:
    server.service.token = "right"
    code, _, err = run("list", "--token", "wrong")
    assert code == 1
    assert "REELSPLIT_TOKEN" in err
    code, _, _ = run("list", "--token", "right")
    assert code == 0


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--server", "example.com:1", "--token", "x"], "in the clear"),
        (["--server", "example.com:1", "--ca-file", "/no/ca"], "--ca-file: /no/ca: No such file"),
        (["--server", "http://example.com"], "no URL"),
        (["--tls"], "goes with --server only"),
    ],
)
def test_wrong_ways_to_a_server(
    flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["shots", "ok.mp4", *flags]) == 2
    assert says in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("reelsplit ")


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert name in out
        if name != "serve":
            assert main([name, "--help"]) == 0
