"""The command on real clips, with the real server that it starts by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clips import AudioTrack, make_clip, read_numbers

TOP = Path(__file__).resolve().parents[2]
RATE = 24
CUTS = (30, 55, 90)
FRAMES = 120


class Command:
    """Runs `reelsplit` in a folder with a clip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.sessions: set[int] = set()
        self.environment = {
            **{name: value for name, value in os.environ.items() if "REELSPLIT" not in name},
            "PYTHONPATH": os.pathsep.join([str(TOP / "client"), str(TOP / "server")]),
            "XDG_CACHE_HOME": str(self.cache),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "reelsplit.cli.main", *arguments],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=200)
        return process.returncode, out, err

    def json(self, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        code, out, err = self.run(*arguments, "--json")
        return code, [json.loads(line) for line in out.splitlines()], err

    def servers(self) -> list[int]:
        """The processes that were started for this command, workers included."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                session = os.getsid(int(entry.name))
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if session == os.getsid(0) or not command:
                continue
            # A server has a session of its own. Its workers' environment does not tell them.
            if str(self.cache).encode() in environment + command:
                self.sessions.add(session)
            if session in self.sessions:
                found.append(int(entry.name))
        return found

    def clean(self) -> bool:
        """Whether nothing that was started is left."""
        return self.servers() == [] and list((self.cache / "reelsplit").iterdir()) == []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "film.mp4"
    make_clip(path, frames=FRAMES, rate=RATE, shots=CUTS, audio=[AudioTrack()], bframes=2)
    return path


@pytest.fixture
def command(tmp_path: Path, clip: Path) -> Command:
    (tmp_path / "film.mp4").write_bytes(clip.read_bytes())
    return Command(tmp_path)


def until(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"no line holds {text}")


def test_ranges_hold_exactly_their_frames(command: Command) -> None:
    code, lines, err = command.json(
        "split", "film.mp4", "out/{index:02d}.mp4", "--ranges", "2-3,00:00:00.5-1.25,-0.25"
    )
    assert (code, err) == (0, "")
    *events, last = lines
    numbers = [int(event["event"]["sequence"]) for event in events]
    numbered = [number for number in numbers if number]
    assert numbered == list(range(1, len(numbered) + 1))
    assert last["job"]["state"] == "JOB_STATE_SUCCEEDED"
    wanted = [range(48, 72), range(12, 30), range(6)]
    assert len(last["segments"]) == len(wanted)
    for index, (segment, frames) in enumerate(zip(last["segments"], wanted, strict=True)):
        path = command.folder / f"out/{index:02d}.mp4"
        assert segment["index"] == index
        assert segment["uri"] == str(path)
        assert segment["frameCount"] == len(frames)
        assert int(segment["sizeBytes"]) == path.stat().st_size
        assert read_numbers(path) == list(frames)
    assert command.clean()


def test_pieces_of_one_length_share_all_frames(command: Command) -> None:
    code, out, _ = command.run("split", "film.mp4", "{stem}-{index}.mp4", "--every", "1.5")
    assert code == 0
    assert "PUBLISHED" in out
    pieces = sorted(command.folder.glob("film-*.mp4"))
    assert [frame for piece in pieces for frame in read_numbers(piece)] == list(range(FRAMES))


def test_shots_are_cut(command: Command) -> None:
    arguments = ["--shots", "--detector", "content", "--min-shot", "0.2"]
    code, lines, _ = command.json("split", "film.mp4", "{index}.mp4", *arguments)
    assert code == 0
    starts = [segment["bounds"]["startFrame"] for segment in lines[-1]["segments"]]
    assert starts == [0, *CUTS]
    assert [read_numbers(command.folder / f"{index}.mp4")[0] for index in range(4)] == starts


def test_shots_are_listed(command: Command) -> None:
    code, lines, _ = command.json("shots", "film.mp4", "--min-shot", "0.2")
    assert code == 0
    found = lines[-1]["shots"]
    assert [(shot["startFrame"], shot["endFrame"]) for shot in found] == list(
        zip([0, *CUTS], [*CUTS, FRAMES], strict=True)
    )
    assert [shot["transition"] for shot in found] == ["start", "cut", "cut", "cut"]
    assert found[1]["startOffset"] == "1.250s"
    assert sorted(path.name for path in command.folder.iterdir()) == ["cache", "film.mp4"]
    code, out, _ = command.run("shots", "film.mp4", "--detector", "content", "--start", "1")
    assert code == 0
    assert "First frame" in out


def test_reports_are_written_without_cutting(command: Command) -> None:
    folder = command.folder
    (folder / "pages").mkdir()
    wanted = ["--report", "csv", "--report", "html=pages", "--report", "edl=new/cut list.edl"]
    arguments = ["shots", "film.mp4", "--detector", "content", "--min-shot", "0.2", *wanted]
    code, out, err = command.run(*arguments)
    assert code == 0, err
    made = [folder / "film.shots.csv", folder / "pages" / "film.html", folder / "new/cut list.edl"]
    for path in made:
        assert path.stat().st_size > 100
        assert str(path) in out
    assert made[1].read_text().count("<img") == len(CUTS) + 1
    code, lines, err = command.json(*arguments)
    assert code == 1
    assert lines[-1]["error"]["reason"] == "OUTPUT_EXISTS"
    assert "film.shots.csv" in err
    made[0].write_text("old")
    code, lines, err = command.json(*arguments, "--overwrite")
    assert (code, err) == (0, "")
    assert [shot["startFrame"] for shot in lines[-1]["shots"]] == [0, *CUTS]
    assert len(made[0].read_text().splitlines()) == len(CUTS) + 2


def test_reports_lie_beside_the_segments(command: Command) -> None:
    code, lines, err = command.json(
        "split", "film.mp4", "out/{stem}-{index}.mp4", "--every", "3", "--report", "otio"
    )
    assert (code, err) == (0, "")
    (report,) = lines[-1]["job"]["reports"]
    assert report["uri"] == str(command.folder / "out" / "film.otio")
    assert sorted(path.name for path in (command.folder / "out").iterdir()) == [
        "film-0.mp4",
        "film-1.mp4",
        "film.otio",
    ]


def test_encoding_options_reach_the_file(command: Command) -> None:
    import av

    code, _, err = command.run(
        *("split", "film.mp4", "{index}.mkv", "--ranges", "1-2", "--width", "160"),
        *("--codec", "hevc", "--preset", "ultrafast", "--crf", "30", "--audio", "none"),
    )
    assert code == 0, err
    with av.open(str(command.folder / "0.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        video = container.streams.video[0]
        assert (video.codec_context.name, video.width) == ("hevc", 160)


def test_several_videos(command: Command) -> None:
    (command.folder / "other.mp4").write_bytes((command.folder / "film.mp4").read_bytes())
    inputs = ["film.mp4", "other.mp4", "gone.mp4"]
    code, lines, err = command.json("split", *inputs, "o/{stem}/{index}.mp4", "--ranges", "1-2")
    assert code == 1
    assert sum("segments" in line for line in lines) == 3
    assert "reelsplit: gone: " in err
    for name in ("film", "other"):
        assert read_numbers(command.folder / f"o/{name}/0.mp4") == list(range(24, 48))


def test_a_linked_video_keeps_its_name(command: Command, clip: Path) -> None:
    (command.folder / "holiday.mp4").symlink_to(clip)
    code, _, err = command.run("split", "holiday.mp4", "{stem}{index}.mp4", "--ranges", "1-2")
    assert code == 0, err
    assert (command.folder / "holiday0.mp4").exists()


def test_a_folder_with_odd_names(command: Command) -> None:
    folder = command.folder / "a {b} [c] %20 #ü"
    folder.mkdir()
    (command.folder / "film.mp4").rename(folder / "film.mp4")
    code, _, err = command.run(
        "split",
        str(folder / "film.mp4"),
        "a {{b}} [c] %20 #ü/{index}.mp4",
        "--ranges",
        "1-2",
    )
    assert code == 0, err
    assert (folder / "0.mp4").exists()


def test_a_missing_video(command: Command) -> None:
    code, lines, err = command.json("split", "no.mp4", "{index}.mp4", "--shots")
    assert code == 1
    assert lines[-1]["job"]["error"]["reason"] == "SOURCE_NOT_FOUND"
    assert lines[-1]["segments"] == []
    assert err.startswith("reelsplit: ")


def test_what_is_no_video(command: Command) -> None:
    (command.folder / "film.txt").write_text("not a film\n" * 1000)
    code, lines, _ = command.json("shots", "film.txt")
    assert code == 1
    assert lines[-1]["shots"] == []
    assert lines[-1]["error"]["reason"] in ("SOURCE_UNREADABLE", "SOURCE_FORMAT_REFUSED")


def test_a_range_outside_fails_alone(command: Command) -> None:
    code, lines, _ = command.json("split", "film.mp4", "{index}.mp4", "--ranges", "1-2,50-60")
    assert code == 1
    first, second = lines[-1]["segments"]
    assert first["state"] == "SEGMENT_STATE_PUBLISHED"
    assert second["error"]["reason"] == "RANGE_OUTSIDE_SOURCE"
    assert lines[-1]["job"]["error"]["reason"] == "SEGMENTS_FAILED"


def test_every_wrong_field_is_named(command: Command) -> None:
    code, lines, err = command.json(
        "split", "film.mp4", "all.mp4", "--ranges", "1-2,5-3", "--width", "17", "--crf", "99"
    )
    assert code == 2
    fields = {field["field"] for field in lines[-1]["error"]["fields"]}
    assert fields >= {"TEMPLATE", "range 1 (0:00:05.000-0:00:03.000)", "--width", "--crf"}
    assert "--width: " in err


def test_files_are_replaced_only_on_demand(command: Command) -> None:
    arguments = ["split", "film.mp4", "{index}.mp4", "--ranges", "1-2"]
    (command.folder / "0.mp4").write_text("mine")
    code, lines, _ = command.json(*arguments)
    assert code == 1
    assert lines[-1]["segments"][0]["error"]["reason"] == "OUTPUT_EXISTS"
    assert (command.folder / "0.mp4").read_text() == "mine"
    assert command.run(*arguments, "--overwrite")[0] == 0
    assert read_numbers(command.folder / "0.mp4") == list(range(24, 48))


SLOW = ("--codec", "av1", "--preset", "0", "--width", "1280", "--fps", "240")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_half_file(command: Command, number: int) -> None:
    process = command.start("split", "film.mp4", "out/{index}.mp4", "--every", "5", *SLOW, "--json")
    wait_for_line(process, '"state":"SEGMENT_STATE_RUNNING"')
    until(lambda: len(command.servers()) > 1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    last = json.loads(out.splitlines()[-1])
    assert last["job"]["state"] == "JOB_STATE_CANCELLED"
    assert [path for path in (command.folder / "out").rglob("*") if path.is_file()] == []
    until(command.clean)


def test_a_killed_command_leaves_no_process(command: Command) -> None:
    process = command.start("split", "film.mp4", "out/{index}.mp4", "--every", "5", *SLOW, "--json")
    wait_for_line(process, '"state":"SEGMENT_STATE_RUNNING"')
    until(lambda: len(command.servers()) > 1)
    process.kill()
    process.communicate(timeout=30)
    until(lambda: command.servers() == [])
    assert [path for path in (command.folder / "out").rglob("*") if path.is_file()] == []
    assert command.run("shots", "film.mp4")[0] == 0
    assert command.clean()


@pytest.fixture
def served(command: Command) -> Iterator[Command]:
    """The same, with a server running in the folder."""
    address = command.folder / "address"
    token = "a-token-of-some-length"
    command.environment["REELSPLIT_TOKENS"] = json.dumps({"me": token})
    command.environment["REELSPLIT_TOKEN"] = token
    process = command.start(
        *("serve", "--listen", "127.0.0.1:0", "--announce", str(address)),
        *("--data-dir", str(command.folder / "data"), "--root", str(command.folder)),
    )
    try:
        until(address.exists)
        command.environment["REELSPLIT_SERVER"] = address.read_text().strip()
        yield command
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()


def test_the_commands_of_a_running_server(served: Command) -> None:
    where = str(served.folder)
    code, out, err = served.run(
        *("submit", f"{where}/film.mp4", f"{where}/o/{{index}}.mp4"),
        *("--every", "2", "--label", "kind=test"),
    )
    assert code == 0, err
    job_id = out.strip()
    code, lines, _ = served.json("watch", job_id)
    assert code == 0
    assert lines[-1]["job"]["state"] == "JOB_STATE_SUCCEEDED"
    assert len(lines[-1]["segments"]) == 3
    assert served.run("watch", job_id)[0] == 0

    code, lines, _ = served.json("list", "--state", "succeeded", "--label", "kind=test")
    assert [job["jobId"] for job in lines] == [job_id]
    assert served.json("list", "--state", "failed")[1] == []
    code, lines, _ = served.json("segments", job_id, "--state", "published")
    assert [segment["index"] for segment in lines] == [0, 1, 2]
    code, out, _ = served.run("get", job_id)
    assert "SUCCEEDED" in out
    assert served.run("retry", job_id)[0] == 1, "it did not fail"
    assert served.json("delete", job_id, "--outputs")[1] == [{"deletedOutputs": 3}]
    assert list((served.folder / "o").iterdir()) == []
    code, _, err = served.run("get", job_id)
    assert code == 1
    assert job_id in err


def test_split_on_a_running_server(served: Command) -> None:
    where = str(served.folder)
    code, _, err = served.run(
        *("split", f"{where}/film.mp4", f"{where}/{{index}}.mp4", "--ranges", "1-2"),
        *("--server", served.environment["REELSPLIT_SERVER"]),
    )
    assert code == 0, err
    assert read_numbers(served.folder / "0.mp4") == list(range(24, 48))


def test_serve_has_its_own_help(command: Command) -> None:
    code, out, _ = command.run("serve", "--help")
    assert code == 0
    assert "--data-dir" in out
