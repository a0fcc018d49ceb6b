"""Local files below given roots: every step of a path is checked when it is opened."""

from __future__ import annotations

import errno
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from reelsplit_server.storage.errors import StorageError, disk_full, exists, is_full

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_MOST_LINKS = 40
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Counted(io.FileIO):
    """A file that counts what is read of it."""

    fetched = 0

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what comes."""
        count = super().readinto(buffer)
        self.fetched += count
        return count


class Files:
    """The files below some folders, and no others.

    A path is walked one name at a time from its root, holding each folder open, so that no ``..``,
    no symbolic link and no folder that is exchanged in the meantime leads outside. Links that stay
    below a root are followed.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        # A root may be given through a link; paths are taken in either form.
        self._roots: dict[PurePosixPath, PurePosixPath] = {}
        for root in roots:
            real = PurePosixPath(os.path.realpath(root))
            self._roots |= {PurePosixPath(os.path.abspath(root)): real, real: real}

    def open(self, path: str) -> io.BufferedReader:
        """Open a file for reading; raises `StorageError` with ``SOURCE_…``."""
        try:
            with self._folder(path, make=False) as (folder, name):
                # O_NONBLOCK, so that a named pipe does not hold the worker up.
                flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                file = os.open(name, flags, dir_fd=folder)
        except OSError as error:
            raise _source_error(error, path) from error
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise StorageError(
                "SOURCE_UNREADABLE", f"The source {path} is not a regular file.", {"uri": path}
            )
        return io.BufferedReader(Counted(file), 2**20)

    def exists(self, path: str) -> bool:
        """Whether something lies at a path."""
        try:
            with self._folder(path, make=False) as (folder, name):
                os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _output_error(error, path) from error
        return True

    def is_open(self, path: str, file: io.BufferedReader) -> bool:
        """Whether the file at a path is the one that is open."""
        opened = os.fstat(file.fileno())
        try:
            with self._folder(path, make=False) as (folder, name):
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _output_error(error, path) from error
        return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)

    def publish(self, scratch: Path, path: str, *, replace: bool) -> None:
        """Move a finished file to its place in one step; no reader sees half of it.

        Raises `StorageError` with ``OUTPUT_…`` or ``DISK_FULL``; ``OUTPUT_EXISTS`` where
        something lies there already and ``replace`` is false.
        """
        try:
            with self._folder(path, make=True) as (folder, name):
                try:
                    self._place(scratch, folder, name, replace=replace)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    with _copied(scratch, folder) as copy:
                        self._place(copy, folder, name, replace=replace, source_folder=folder)
                os.fsync(folder)
        except OSError as error:
            raise _output_error(error, path) from error

    def _place(
        self,
        source: Path,
        folder: int,
        name: str,
        *,
        replace: bool,
        source_folder: int | None = None,
    ) -> None:
        if replace:
            os.replace(source, name, src_dir_fd=source_folder, dst_dir_fd=folder)
            return
        try:
            # A hard link, unlike a rename, fails where the name is taken.
            os.link(source, name, src_dir_fd=source_folder, dst_dir_fd=folder)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # The file system has no hard links: the name is taken first, by an empty file.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(name, flags, 0o644, dir_fd=folder))
            try:
                os.replace(source, name, src_dir_fd=source_folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(name, dir_fd=folder)
                raise

    def delete(self, path: str) -> bool:
        """Delete a file; false where there is none."""
        try:
            with self._folder(path, make=False) as (folder, name):
                os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _output_error(error, path) from error
        return True

    @contextmanager
    def _folder(self, path: str, *, make: bool) -> Iterator[tuple[int, str]]:
        """The open folder that holds a path, and the path's last name in it."""
        target = PurePosixPath(path)
        for _ in range(_MOST_LINKS):
            folder, name, link = self._walk(target, make=make)
            if link is None:
                try:
                    yield folder, name
                finally:
                    os.close(folder)
                return
            target = link
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _walk(self, target: PurePosixPath, *, make: bool) -> tuple[int, str, PurePosixPath | None]:
        """Walk to the folder of ``target``; or to a link on the way, and where it leads."""
        given = next((root for root in self._roots if target.is_relative_to(root)), None)
        if given is None or target == given or ".." in target.parts:
            raise _OutsideError
        *folders, name = target.relative_to(given).parts
        here = self._roots[given]
        folder = os.open(here, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for place, part in enumerate([*folders, name]):
                link = _link(folder, part)
                if link is not None:
                    rest = [*folders, name][place + 1 :]
                    lead = os.path.normpath(PurePosixPath(here, link, *rest))
                    os.close(folder)
                    return -1, "", PurePosixPath(lead)
                if place == len(folders):
                    break
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                inner = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
                here /= part
        except BaseException:
            os.close(folder)
            raise
        return folder, name, None


class _OutsideError(OSError):
    """The path leads outside of all roots."""


def _link(folder: int, name: str) -> str | None:
    """Where a symbolic link leads, or None when it is something else or nothing."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT):
            return None
        raise


@contextmanager
def _copied(scratch: Path, folder: int) -> Iterator[Path]:
    """A copy of a file in a folder of another file system, under a hidden name.

    Where the system can, the copy has no name at all until it is whole, so that a process that is
    killed while it copies leaves nothing behind.
    """
    hidden = f".reelsplit-{secrets.token_hex(8)}.part"
    flags = os.O_WRONLY | os.O_CLOEXEC
    try:
        unnamed = getattr(os, "O_TMPFILE", None)
        try:
            if unnamed is None:
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
            target = os.open(".", flags | unnamed, 0o644, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                raise
            unnamed = None
            named = flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            target = os.open(hidden, named, 0o644, dir_fd=folder)
        with scratch.open("rb") as source, os.fdopen(target, "wb") as copy:
            shutil.copyfileobj(source, copy, 2**20)
            copy.flush()
            os.fsync(copy.fileno())
            if unnamed is not None:
                link = f"/proc/self/fd/{copy.fileno()}"
                os.link(link, hidden, dst_dir_fd=folder, follow_symlinks=True)
        yield Path(hidden)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(hidden, dir_fd=folder)


def _source_error(error: OSError, path: str) -> StorageError:
    metadata = {"uri": path}
    if isinstance(error, _OutsideError):
        return StorageError(
            "SOURCE_FORBIDDEN",
            f"The source {path} leads outside of the folders that this server may read; "
            "its operator adds folders with --root.",
            metadata,
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return StorageError("SOURCE_NOT_FOUND", f"There is no file at {path}.", metadata)
    if isinstance(error, PermissionError):
        return StorageError(
            "SOURCE_FORBIDDEN",
            f"The server has no permission to read {path}; change the file's mode or owner.",
            metadata,
        )
    return StorageError(
        "SOURCE_UNAVAILABLE",
        f"The source {path} could not be opened: {error.strerror}.",
        metadata,
        transient=error.errno == errno.EIO,
    )


def _output_error(error: OSError, path: str) -> StorageError:
    metadata = {"uri": path}
    if isinstance(error, _OutsideError):
        return StorageError(
            "OUTPUT_FORBIDDEN",
            f"The output {path} leads outside of the folders that this server may write; "
            "its operator adds folders with --root.",
            metadata,
        )
    if isinstance(error, FileExistsError):
        return exists(path)
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return StorageError(
            "OUTPUT_FORBIDDEN",
            f"The server has no permission to write {path}; change the folder's mode or owner.",
            metadata,
        )
    if is_full(error):
        return disk_full()
    return StorageError(
        "OUTPUT_UNAVAILABLE",
        f"The output {path} could not be written: {error.strerror}.",
        metadata,
        transient=error.errno == errno.EIO,
    )
