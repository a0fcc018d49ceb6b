"""What a killed server has left outside of its data folder."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from reelsplit_server.engine import leftovers

PREPARE = """
import os, sys
from pathlib import Path
from multiprocessing.util import get_temp_dir
from reelsplit_server.engine import leftovers
leftovers.clear(Path(sys.argv[1]))
spare = leftovers.prepare(Path(sys.argv[1]), own=True)
(spare / "s").write_text("")
(Path(get_temp_dir()) / "listener").write_text("")
print(sorted(os.listdir(os.environ["TMPDIR"])))
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
"""


def _server(record: Path, temporary: Path, end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, str(record), end],
        env={**os.environ, "TMPDIR": str(temporary)},
        check=False,
        timeout=60,
    )
    assert done.returncode == (-9 if end == "killed" else 0)


def test_what_a_killed_server_left_is_deleted_by_the_next(tmp_path: Path) -> None:
    # A short path, as sockets need one.
    with tempfile.TemporaryDirectory() as name:
        temporary, record = Path(name), tmp_path / "outside"
        _server(record, temporary, "killed")
        assert len(os.listdir(temporary)) == 2
        _server(record, temporary, "killed")
        assert len(os.listdir(temporary)) == 2
        _server(record, temporary, "ended")
        # What it deletes by itself is that of its library; the socket is its engine's to delete.
        assert len(os.listdir(temporary)) == 1
        leftovers.clear(record)
        assert os.listdir(temporary) == []


def test_without_a_record_nothing_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "rs-abc").mkdir()
    leftovers.clear(tmp_path / "outside")
    assert os.listdir(tmp_path) == ["rs-abc"]


def test_what_is_called_otherwise_or_leads_elsewhere_stays(tmp_path: Path) -> None:
    other, link = tmp_path / "films", tmp_path / "rs-link"
    other.mkdir()
    (other / "film.mp4").write_text("x")
    link.symlink_to(other)
    (tmp_path / "outside").write_text(f"{other}\n{link}\n")
    leftovers.clear(tmp_path / "outside")
    assert (other / "film.mp4").exists()


def test_what_is_another_users_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "rs-abc"
    folder.mkdir()
    (tmp_path / "outside").write_text(f"{folder}\n")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    leftovers.clear(tmp_path / "outside")
    assert folder.exists()


def test_the_folder_of_a_server_in_this_very_process_stays(tmp_path: Path) -> None:
    record = tmp_path / "outside"
    leftovers.prepare(record, own=False)
    (folder,) = record.read_text().split()
    Path(folder).mkdir(exist_ok=True)
    leftovers.clear(record)
    assert Path(folder).exists()
