"""Files below roots: nothing leads outside, and nothing half-made is ever seen."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reelsplit_server.storage.errors import StorageError
from reelsplit_server.storage.files import Files

IN = b"inside"
OUT = b"outside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a file in it, and beside it a folder that is none of ours."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "film").write_bytes(IN)
    (root / "sub" / "film").write_bytes(IN)
    (tmp_path / "other" / "sub").mkdir(parents=True)
    (tmp_path / "other" / "film").write_bytes(OUT)
    (tmp_path / "other" / "sub" / "film").write_bytes(OUT)
    return root


def _read(files: Files, path: Path | str) -> bytes:
    with files.open(str(path)) as file:
        return file.read()


def _reason(call: Callable[[], object]) -> str:
    with pytest.raises(StorageError) as caught:
        call()
    assert caught.value.message.endswith(".")
    return caught.value.reason


def _made(root: Path, name: str = "scratch", data: bytes = b"new") -> Path:
    scratch = root.parent / name
    scratch.write_bytes(data)
    return scratch


# --- Links and escapes -----------------------------------------------------------------------


def test_a_file_below_a_root_is_read(root: Path) -> None:
    assert _read(Files([root]), root / "sub" / "film") == IN


def test_without_roots_nothing_is_read(root: Path) -> None:
    assert _reason(lambda: Files([]).open(str(root / "film"))) == "SOURCE_FORBIDDEN"


@pytest.mark.parametrize(
    "escape",
    [
        "/etc/passwd",
        "{root}/../other/film",
        "{root}/sub/../../other/film",
        "{root}x/film",
        "{root}",
        "{parent}/other/film",
        "/",
    ],
)
def test_a_path_outside_is_forbidden(root: Path, escape: str) -> None:
    path = escape.format(root=root, parent=root.parent)
    assert _reason(lambda: Files([root]).open(path)) == "SOURCE_FORBIDDEN"
    scratch = _made(root)
    refused = _reason(lambda: Files([root]).publish(scratch, path, replace=True))
    assert refused == "OUTPUT_FORBIDDEN"
    assert _reason(lambda: Files([root]).delete(path)) == "OUTPUT_FORBIDDEN"
    assert (root.parent / "other" / "film").read_bytes() == OUT


@pytest.mark.parametrize(
    ("link", "target", "path"),
    [
        ("link", "{other}/film", "link"),
        ("link", "../other/film", "link"),
        ("link", "/etc/passwd", "link"),
        ("link", "{other}", "link/film"),
        ("link", "{other}", "link/sub/film"),
        ("link", "..", "link/other/film"),
        ("sub/link", "../../other", "sub/link/film"),
        ("link", "sub/../../other", "link/film"),
        ("link", "{root}/../other", "link/film"),
        ("link", "/proc/self/root{other}/film", "link"),
    ],
)
def test_a_link_that_leads_outside_is_forbidden(
    root: Path, link: str, target: str, path: str
) -> None:
    other = root.parent / "other"
    (root / link).symlink_to(target.format(root=root, other=other))
    assert _reason(lambda: Files([root]).open(str(root / path))) == "SOURCE_FORBIDDEN"
    scratch = _made(root)
    refused = _reason(lambda: Files([root]).publish(scratch, str(root / path), replace=True))
    assert refused == "OUTPUT_FORBIDDEN"
    assert (other / "film").read_bytes() == OUT


@pytest.mark.parametrize(
    ("link", "target", "path"),
    [
        ("link", "film", "link"),
        ("link", "{root}/film", "link"),
        ("link", "./sub/film", "link"),
        ("link", "sub", "link/film"),
        ("sub/link", "../film", "sub/link"),
        ("sub/link", "..", "sub/link/sub/film"),
        ("link", "{root}", "link/film"),
    ],
)
def test_a_link_that_stays_inside_is_followed(
    root: Path, link: str, target: str, path: str
) -> None:
    (root / link).symlink_to(target.format(root=root))
    assert _read(Files([root]), root / path) == IN


def test_a_link_from_one_root_into_another_is_followed(root: Path) -> None:
    other = root.parent / "other"
    (root / "link").symlink_to(other)
    assert _read(Files([root, other]), root / "link" / "film") == OUT


def test_a_chain_of_links_is_followed_to_its_end_and_no_further(root: Path) -> None:
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("three")
    (root / "three").symlink_to(root.parent / "other")
    assert _reason(lambda: Files([root]).open(str(root / "one" / "film"))) == "SOURCE_FORBIDDEN"


@pytest.mark.parametrize("target", ["loop", "back"])
def test_links_in_a_circle_end(root: Path, target: str) -> None:
    (root / "loop").symlink_to(target)
    (root / "back").symlink_to("loop")
    assert _reason(lambda: Files([root]).open(str(root / "loop"))) == "SOURCE_UNAVAILABLE"
    assert _reason(lambda: Files([root]).exists(str(root / "loop" / "x"))) == "OUTPUT_UNAVAILABLE"


def test_a_root_may_be_given_through_a_link(root: Path) -> None:
    given = root.parent / "given"
    given.symlink_to(root)
    files = Files([given])
    assert _read(files, given / "film") == IN
    assert _read(files, root / "film") == IN
    assert _reason(lambda: files.open(str(root.parent / "other" / "film"))) == "SOURCE_FORBIDDEN"


# --- Races -----------------------------------------------------------------------------------


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], None]], list[str]]:
    """Arranges that something is done just before a name is opened, as an attacker would."""

    def arrange(name: str, act: Callable[[], None]) -> list[str]:
        done: list[str] = []
        real = os.open

        def opened(path: str, *args: object, **kwargs: object) -> int:
            if path == name and not done:
                done.append(name)
                act()
            return real(path, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr("reelsplit_server.storage.files.os.open", opened)
        return done

    return arrange


def test_a_folder_exchanged_for_a_link_while_walking_leads_nowhere(
    root: Path, exchange: Callable[[str, Callable[[], None]], list[str]]
) -> None:
    def act() -> None:
        (root / "sub").rename(root / "was")
        (root / "sub").symlink_to(root.parent / "other" / "sub")

    done = exchange("sub", act)
    assert _reason(lambda: Files([root]).open(str(root / "sub" / "film"))).startswith("SOURCE_")
    assert done


def test_a_folder_moved_out_while_walking_is_not_left_through_its_parent(
    root: Path, exchange: Callable[[str, Callable[[], None]], list[str]]
) -> None:
    def act() -> None:
        (root / "sub" / "film").unlink()
        (root / "sub" / "film").symlink_to(root.parent / "other" / "film")

    done = exchange("film", act)
    assert _reason(lambda: Files([root]).open(str(root / "sub" / "film"))).startswith("SOURCE_")
    assert done


def test_publishing_into_a_folder_exchanged_for_a_link_writes_nothing_outside(
    root: Path, exchange: Callable[[str, Callable[[], None]], list[str]]
) -> None:
    scratch, other = _made(root), root.parent / "other"

    def act() -> None:
        (root / "sub").rename(root / "was")
        (root / "sub").symlink_to(other)

    done = exchange("sub", act)
    path = str(root / "sub" / "new")
    assert _reason(lambda: Files([root]).publish(scratch, path, replace=True)).startswith("OUTPUT_")
    assert done
    assert sorted(path.name for path in other.iterdir()) == ["film", "sub"]


# --- What is no file -------------------------------------------------------------------------


def test_a_folder_is_no_source(root: Path) -> None:
    assert _reason(lambda: Files([root]).open(str(root / "sub"))) == "SOURCE_UNREADABLE"


def test_a_named_pipe_is_no_source_and_holds_nobody_up(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert _reason(lambda: Files([root]).open(str(root / "pipe"))) == "SOURCE_UNREADABLE"


def test_a_device_is_no_source(root: Path) -> None:
    try:
        os.mknod(root / "zero", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except OSError as error:
        pytest.skip(f"no device can be made here: {error}")
    refused = _reason(lambda: Files([root]).open(str(root / "zero")))
    assert refused in ("SOURCE_UNREADABLE", "SOURCE_FORBIDDEN")


@pytest.mark.parametrize("path", ["missing", "missing/film", "film/film", "sub/missing"])
def test_what_is_not_there_is_not_found(root: Path, path: str) -> None:
    assert _reason(lambda: Files([root]).open(str(root / path))) == "SOURCE_NOT_FOUND"


@pytest.mark.parametrize("name", ["a" * 300, "sub/" + "b" * 300])
def test_a_name_that_no_file_can_have_is_told(root: Path, name: str) -> None:
    assert _reason(lambda: Files([root]).open(str(root / name))).startswith("SOURCE_")
    assert _reason(lambda: Files([root]).publish(_made(root), str(root / name), replace=False))


# --- Publishing ------------------------------------------------------------------------------


def test_a_file_is_published_with_the_folders_it_needs(root: Path) -> None:
    Files([root]).publish(_made(root), str(root / "a" / "b" / "out"), replace=False)
    assert (root / "a" / "b" / "out").read_bytes() == b"new"


def test_what_lies_there_is_kept_unless_it_may_be_replaced(root: Path) -> None:
    files, path = Files([root]), root / "film"
    refused = _reason(lambda: files.publish(_made(root), str(path), replace=False))
    assert refused == "OUTPUT_EXISTS"
    assert path.read_bytes() == IN
    files.publish(_made(root), str(path), replace=True)
    assert path.read_bytes() == b"new"


def test_readers_of_what_is_replaced_keep_the_old_whole(root: Path) -> None:
    files = Files([root])
    with files.open(str(root / "film")) as reader:
        files.publish(_made(root), str(root / "film"), replace=True)
        assert reader.read() == IN


def test_publishing_over_a_link_at_the_place_writes_where_it_leads(root: Path) -> None:
    (root / "link").symlink_to("sub/out")
    Files([root]).publish(_made(root), str(root / "link"), replace=False)
    assert (root / "sub" / "out").read_bytes() == b"new"
    assert (root / "link").is_symlink()


def test_a_folder_at_the_place_is_never_replaced(root: Path) -> None:
    refused = _reason(lambda: Files([root]).publish(_made(root), str(root / "sub"), replace=True))
    assert refused.startswith("OUTPUT_")
    assert (root / "sub" / "film").read_bytes() == IN


def test_a_file_where_a_folder_is_needed_is_told(root: Path) -> None:
    path = str(root / "film" / "out")
    refused = _reason(lambda: Files([root]).publish(_made(root), path, replace=True))
    assert refused.startswith("OUTPUT_")
    assert (root / "film").read_bytes() == IN


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("replace", [False, True])
def test_another_file_system_gets_a_copy_in_one_step(
    root: Path, elsewhere: Path, replace: bool
) -> None:
    files, path = Files([elsewhere]), elsewhere / "sub" / "out"
    files.publish(_made(root), str(path), replace=replace)
    assert path.read_bytes() == b"new"
    assert [found.name for found in path.parent.iterdir()] == ["out"]


def test_another_file_system_is_refused_without_leftovers_where_something_lies(
    root: Path, elsewhere: Path
) -> None:
    (elsewhere / "out").write_bytes(IN)
    files, path = Files([elsewhere]), str(elsewhere / "out")
    assert _reason(lambda: files.publish(_made(root), path, replace=False)) == "OUTPUT_EXISTS"
    assert (elsewhere / "out").read_bytes() == IN
    assert [found.name for found in elsewhere.iterdir()] == ["out"]
    files.publish(_made(root), path, replace=True)
    assert (elsewhere / "out").read_bytes() == b"new"
    assert [found.name for found in elsewhere.iterdir()] == ["out"]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(root: Path, tiny: Path) -> None:
    scratch = _made(root, data=bytes(2**20))
    refused = _reason(lambda: Files([tiny]).publish(scratch, str(tiny / "out"), replace=False))
    assert refused == "DISK_FULL"
    assert list(tiny.iterdir()) == []


def test_a_read_only_disk_is_told(root: Path, tiny: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(tiny)], check=True)
    refused = _reason(lambda: Files([tiny]).publish(_made(root), str(tiny / "out"), replace=False))
    assert refused == "OUTPUT_FORBIDDEN"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_missing_permissions_are_told(root: Path) -> None:
    (root / "film").chmod(0)
    (root / "sub").chmod(0o500)
    files = Files([root])
    assert _reason(lambda: files.open(str(root / "film"))) == "SOURCE_FORBIDDEN"
    path = str(root / "sub" / "out")
    assert _reason(lambda: files.publish(_made(root), path, replace=False)) == "OUTPUT_FORBIDDEN"
    (root / "sub").chmod(0o700)


def test_missing_permissions_are_told_to_another_user(root: Path) -> None:
    """As the test before, where the tests run as root: in a process of another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    code = (
        "import os, sys, pathlib\n"
        "from reelsplit_server.storage.files import Files\n"
        "from reelsplit_server.storage.errors import StorageError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "files = Files([pathlib.Path(sys.argv[1])])\n"
        "for act in (lambda: files.open(sys.argv[1] + '/film'),\n"
        "            lambda: files.publish(pathlib.Path(sys.argv[2]), sys.argv[1] + '/sub/out',\n"
        "                                  replace=True)):\n"
        "    try:\n"
        "        act()\n"
        "    except StorageError as error:\n"
        "        print(error.reason)\n"
    )
    import sys

    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        (folder / "sub").mkdir(mode=0o755)
        (folder / "film").write_bytes(IN)
        (folder / "film").chmod(0)
        (folder / "scratch").write_bytes(b"new")
        folder.chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", code, name, str(folder / "scratch")],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        pytest.skip(f"another user cannot run this Python: {done.stderr.strip()[-200:]}")
    assert done.stdout.split() == ["SOURCE_FORBIDDEN", "OUTPUT_FORBIDDEN"]


# --- Asking and deleting ---------------------------------------------------------------------


def test_existence_is_told(root: Path) -> None:
    files = Files([root])
    assert files.exists(str(root / "film"))
    assert files.exists(str(root / "sub"))
    assert not files.exists(str(root / "missing"))
    assert not files.exists(str(root / "missing" / "film"))


def test_deleting_tells_whether_there_was_something(root: Path) -> None:
    files = Files([root])
    assert files.delete(str(root / "film"))
    assert not files.delete(str(root / "film"))
    assert not files.delete(str(root / "missing" / "film"))
    assert _reason(lambda: files.delete(str(root / "sub"))).startswith("OUTPUT_")


def test_no_file_descriptor_is_left_open(root: Path) -> None:
    (root / "link").symlink_to("sub")
    (root / "out").symlink_to(root.parent / "other")
    files = Files([root])

    def everything() -> None:
        _read(files, root / "link" / "film")
        files.exists(str(root / "sub" / "missing"))
        for path in ("out/film", "sub", "missing", "film/x"):
            with pytest.raises(StorageError):
                files.open(str(root / path))
        files.publish(_made(root), str(root / "a" / "out"), replace=True)
        files.delete(str(root / "a" / "out"))

    everything()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        everything()
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_hard_links_a_file_is_published_and_none_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    root = tmp_path / "root"
    root.mkdir()
    for text, reason in (("first", None), ("second", "OUTPUT_EXISTS")):
        scratch = tmp_path / "scratch"
        scratch.write_text(text)
        try:
            Files([root]).publish(scratch, str(root / "x"), replace=False)
            told = None
        except StorageError as error:
            told = error.reason
        assert told == reason
    assert (root / "x").read_text() == "first"


def test_without_hard_links_a_failure_leaves_no_empty_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "replace", refuse)
    (tmp_path / "scratch").write_text("x")
    with pytest.raises(StorageError):
        Files([tmp_path]).publish(tmp_path / "scratch", str(tmp_path / "y"), replace=False)
    assert not (tmp_path / "y").exists()
