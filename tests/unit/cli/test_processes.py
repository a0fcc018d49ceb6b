"""The command as a process, with a stand-in for the server that it starts."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.unit.cli import scripted

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[2]


class Command:
    """Runs `reelsplit` with a cache, and with what the stand-in told about itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.told = folder / "told"
        self.program = ["-m", "reelsplit.cli.main"]
        """What Python is told to run."""
        paths = [str(HERE / "fake"), str(TOP / "client"), str(TOP)]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "XDG_CACHE_HOME": str(self.cache),
            "FAKE_TELLS": str(self.told),
            "REELSPLIT_TOKEN": "the-user's",
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        command = [sys.executable, *self.program, *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, **streams
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def server(self) -> dict[str, Any]:
        """What the stand-in told, once it has."""
        until(self.told.exists)
        until(lambda: self.told.read_text() != "")
        facts: dict[str, Any] = json.loads(self.told.read_text())
        return facts

    def gone(self) -> bool:
        """Whether the server has ended and its folder is removed."""
        facts = self.server()
        return not alive(facts["pid"]) and not Path(facts["folder"]).exists()


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"no line holds {text}")


def rest(process: subprocess.Popen[str]) -> str:
    """What else it says until it ends. `communicate` alone knows nothing of what was read ahead."""
    assert process.stdout is not None
    out = process.stdout.read()
    process.communicate(timeout=PATIENCE)
    return out


def last(out: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(out.splitlines()[-1])
    return line


def test_a_server_is_started_and_ended(command: Command) -> None:
    (command.folder / "in").mkdir()
    code, out, err = command.run(
        "split", "in/ok.mp4", "new/out/{index}.mp4", "--ranges", "1-2", "--json"
    )
    assert (code, err) == (0, "")
    spec = last(out)["job"]["spec"]
    assert spec["input"]["uri"] == f"{command.folder}/in/ok.mp4"
    assert spec["output"]["uriTemplate"] == f"{command.folder}/new/out/{{index}}.mp4"
    assert command.server()["roots"] == [str(command.folder), f"{command.folder}/in"]
    assert command.gone()
    assert list((command.cache / "reelsplit").iterdir()) == []


def test_a_server_that_cannot_start_says_why(command: Command) -> None:
    command.environment["FAKE_FAILS"] = "1"
    code, out, err = command.run("split", "ok.mp4", "{index}.mp4", "--shots", "--json")
    assert code == 3
    assert err == "reelsplit: the local server did not start: the port is taken\n"
    assert last(out)["error"]["reason"] == "UNAVAILABLE"
    assert list((command.cache / "reelsplit").iterdir()) == []


def test_a_server_that_dies_ends_the_command(command: Command) -> None:
    command.environment["FAKE_DIES"] = "1"
    code, out, err = command.run("split", "slow.mp4", "{index}.mp4", "--shots", "--json")
    assert code == 3
    assert "the local server ended unexpectedly" in err
    line = last(out)
    assert line["error"]["reason"] == "UNAVAILABLE"
    assert [segment["index"] for segment in line["segments"]] == [0, 1, 2]
    assert command.gone()


def test_the_server_extra_may_be_missing(command: Command) -> None:
    command.environment["PYTHONPATH"] = os.pathsep.join([str(TOP / "client"), str(TOP)])
    hidden = "import sys; sys.modules['reelsplit_server'] = None; "
    program = hidden + "from reelsplit.cli.main import main; sys.exit(main())"
    for arguments in (["split", "ok.mp4", "{index}.mp4", "--shots"], ["serve"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=command.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert "pip install 'reelsplit[server]'" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_the_cli_extra_may_be_missing(command: Command, library: str) -> None:
    program = (
        f"import sys; sys.modules['{library}'] = None; "
        "from reelsplit.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"],
        env=command.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "pip install 'reelsplit[cli]'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def hearing() -> Iterator[None]:
    """SIGHUP is heard: the command leaves it ignored where `nohup` had it so, and the tests may be
    started by that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hearing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_cancels_the_job(command: Command, number: int) -> None:
    process = command.start("split", "slow.mp4", "{index}.mp4", "--shots", "--json")
    wait_for_line(process, '"running":[{')
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert last(out)["job"]["state"] == "JOB_STATE_CANCELLED"
    assert len(last(out)["segments"]) == 3
    assert err == "reelsplit: interrupted\n"
    assert command.gone()


def test_several_jobs_are_all_cancelled(command: Command) -> None:
    names = [f"slow{number}.mp4" for number in range(12)]
    process = command.start("split", *names, "{stem}{index}.mp4", "--shots", "--json")
    wait_for_line(process, '"running":[{')
    process.send_signal(signal.SIGINT)
    out = rest(process)
    assert process.returncode == 130
    ends = [line for line in map(json.loads, out.splitlines()) if "segments" in line]
    assert len(ends) == 12
    assert {end["job"]["state"] for end in ends if end["job"]} == {"JOB_STATE_CANCELLED"}
    assert command.gone()


def test_a_second_interruption_ends_at_once(command: Command) -> None:
    # The first one leaves the server longer than is waited for below.
    command.program = [
        "-c",
        "import sys; from reelsplit.cli import runner; runner._CANCEL_SECONDS = 600.0; "
        "from reelsplit.cli.main import main; sys.exit(main())",
    ]
    process = command.start("split", "stuck.mp4", "{index}.mp4", "--shots", "--json")
    wait_for_line(process, '"running":[{')
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    until(command.gone)


def test_a_killed_command_takes_its_server_with_it(command: Command) -> None:
    process = command.start("split", "slow.mp4", "{index}.mp4", "--shots", "--json")
    wait_for_line(process, '"running":[{')
    process.kill()
    process.communicate(timeout=PATIENCE)
    facts = command.server()
    until(lambda: not alive(facts["pid"]))
    # The next run clears up behind it.
    command.told.unlink()
    assert command.run("shots", "ok.mp4")[0] == 0
    assert not Path(facts["folder"]).exists()


def test_the_folder_of_a_run_that_lasts_is_left_alone(command: Command) -> None:
    process = command.start("split", "slow.mp4", "{index}.mp4", "--shots", "--json")
    wait_for_line(process, '"running":[{')
    facts = command.server()
    assert command.run("shots", "ok.mp4")[0] == 0
    assert Path(facts["folder"]).exists()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert not Path(facts["folder"]).exists()


def test_a_reader_who_leaves_cancels_the_job(command: Command) -> None:
    process = command.start("split", "slow.mp4", "{index}.mp4", "--shots", "--json")
    wait_for_line(process, '"sequence":"1"')
    assert process.stdout is not None
    process.stdout.close()
    # The job says nothing more by itself until it is cancelled.
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert "Traceback" not in err
    assert command.gone()


def test_an_interrupted_watch_leaves_the_job_alone(command: Command) -> None:
    service = scripted.Scripted()
    server, address = scripted.start(service)
    try:
        arguments = ["slow.mp4", "{index}.mp4", "--shots", "--server", address]
        job_id = command.run("submit", *arguments, "--token", "")[1].strip()
        process = command.start("watch", job_id, "--json", "--server", address)
        wait_for_line(process, '"running":[{')
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert last(out)["job"]["jobId"] == job_id
        assert "CancelJob" not in [name for name, _ in service.calls]
    finally:
        for cancelled in service.cancelled.values():
            cancelled.set()
        server.stop(0).wait()


def test_the_server_does_not_hear_the_terminal(command: Command) -> None:
    process = command.start("split", "slow.mp4", "{index}.mp4", "--shots", "--json")
    wait_for_line(process, '"running":[{')
    assert os.getsid(command.server()["pid"]) != os.getsid(process.pid)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)


def test_bars_on_a_terminal(command: Command) -> None:
    controller, terminal = pty.openpty()
    process = command.start(
        "split", "slow.mp4", "{index}.mp4", "--shots", stderr=terminal, stdout=subprocess.PIPE
    )
    os.close(terminal)
    shown = b""
    while b"segment 0" not in shown:
        shown += _read(controller)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    while rest := _read(controller):
        shown += rest
    os.close(controller)
    text = shown.decode()
    assert "slow" in text
    assert "0/3 segments" in text
    assert text.rstrip().endswith("reelsplit: interrupted")
    assert "\x1b[?25h" in text, "the cursor is shown again"
    assert "Index" in out
    assert process.returncode == 130


def _read(controller: int) -> bytes:
    ready, _, _ = select.select([controller], [], [], PATIENCE)
    assert ready, "nothing more was drawn"
    with contextlib.suppress(OSError):
        return os.read(controller, 65536)
    return b""


def test_help_loads_neither_server_nor_codecs(command: Command) -> None:
    program = (
        "import sys; from reelsplit.cli.main import main; main(['--help']); "
        "heavy = {'av', 'numpy', 'reelsplit_server', 'rich.progress'} & set(sys.modules); "
        "sys.exit(bool(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=command.environment, capture_output=True
    )
    assert done.returncode == 0
