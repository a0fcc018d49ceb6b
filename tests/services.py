"""Real object stores for tests: SeaweedFS and rclone's S3 server, each in processes of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import trustme
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.patience import PATIENCE
from tests.ports import free_ports

_TRIES = 4
"""How often a start is tried on other ports, since others may take those that were free."""
_PROBE = "reelsplit-probe"


@dataclass(slots=True)
class Service:
    """A running store. ``tls_endpoint`` and ``ca`` (a PEM file) stand for the same data over TLS;
    virtual hosts are ``bucket.s3.localhost`` on the same ports. ``reader`` is the access key and
    secret of one who may only read and list; both are empty where the store knows no such user."""

    endpoint: str
    access_key: str
    secret_key: str
    tls_endpoint: str = ""
    ca: str = ""
    reader: tuple[str, str] = ("", "")
    _command: Sequence[str] = ()
    _environment: dict[str, str] = field(default_factory=dict)
    _log: Path = Path()
    _process: subprocess.Popen[bytes] | None = None
    _api: Any = None

    @property
    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def port(self) -> int:
        """The port of ``endpoint``."""
        return int(self.endpoint.rpartition(":")[2])

    def client(self, **options: Any) -> Any:
        """A plain boto3 client with all rights; ``options`` go to `boto3.client`. Close it."""
        given: dict[str, Any] = {
            "endpoint_url": self.endpoint,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": "us-east-1",
            "config": Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        }
        return boto3.session.Session().client("s3", **(given | options))

    @property
    def api(self) -> Any:
        """A client of `client` that is shared, since making one takes long."""
        if self._api is None:
            self._api = self.client()
        return self._api

    def settings(self, *buckets: str, endpoint: str | None = None) -> dict[str, Any]:
        """What tells a Reelsplit server of it; by another way where an endpoint is given."""
        return {
            "kind": "s3",
            "endpoint": endpoint or self.endpoint,
            "region": "us-east-1",
            "addressing": "path",
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "buckets": list(buckets),
        }

    def bucket(self, name: str) -> str:
        """Make a bucket, unless it is there; answers its name."""
        with suppress(*_there(self.api)):
            self.api.create_bucket(Bucket=name)
        return name

    def close(self) -> None:
        """End it for good."""
        self.kill()
        if self._api is not None:
            self._api.close()
            self._api = None

    def start(self) -> None:
        """Start it; returns when a PUT works. Raises `RuntimeError`, with its log, otherwise."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it at once, as the kernel does, with all its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self) -> None:
        """Start it again on the same ports and data; returns when a PUT works."""
        self.kill()
        self.start()

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        last: Exception | None = None
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                self.bucket(_PROBE)
                self.api.put_object(Bucket=_PROBE, Key="probe", Body=b"probe")
                return
            except (BotoCoreError, ClientError) as error:
                last = error
                time.sleep(0.1)
        raise RuntimeError(f"{self._command[0]} did not start: {last}\n{self.log[-8000:]}")


def _there(client: Any) -> tuple[type[Exception], ...]:
    return (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists)


def binary(name: str) -> str:
    """The path of a program that came with the packages of the extra `dev`."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise RuntimeError(f"{path} is missing; install the package with the extra dev")
    return str(path)


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Service]:
    """SeaweedFS with its data in a folder, over HTTP and over TLS."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    names = ["127.0.0.1", "localhost", "s3.localhost", "*.s3.localhost"]
    certificate = authority.issue_cert(*names)
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    admin, reader = _user("ADMIN"), _user("READER")
    users = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for name, (key, secret), actions in (
            ("admin", admin, ["Admin", "Read", "List", "Tagging", "Write"]),
            ("reader", reader, ["Read", "List"]),
        )
    ]
    (folder / "users.json").write_text(json.dumps({"identities": users}))

    def make() -> Service:
        s3, tls, master, volume, filer = free_ports(5)
        command = [binary("weed"), "server", f"-dir={folder / 'data'}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={s3}"]
        command += [f"-s3.port.https={tls}", f"-s3.cert.file={folder / 'cert.pem'}"]
        command += [f"-s3.key.file={folder / 'key.pem'}", "-s3.domainName=s3.localhost"]
        command += [f"-s3.config={folder / 'users.json'}", "-s3.autoCreateBucket=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-master.port={master}"]
        command += [f"-volume.port={volume}", f"-filer.port={filer}"]
        # Elected again soon after a kill; and volumes enough for many buckets.
        command += ["-master.electionTimeout=1s", "-master.volumeSizeLimitMB=1024"]
        command += ["-volume.max=2000"]
        return Service(
            f"http://127.0.0.1:{s3}",
            *admin,
            tls_endpoint=f"https://127.0.0.1:{tls}",
            ca=str(folder / "ca.pem"),
            reader=reader,
            _command=command,
            # Its configuration is looked for in HOME, too.
            _environment={"PATH": os.environ["PATH"], "HOME": str(folder)},
            _log=folder / "weed.log",
        )

    yield from _running(make)


@contextmanager
def rclone_s3(folder: Path) -> Iterator[Service]:
    """rclone's S3 server over a folder of files: another dialect."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    admin = _user("ADMIN")

    def make() -> Service:
        (port,) = free_ports(1)
        command = [binary("rclone"), "serve", "s3", "--auth-key", ",".join(admin)]
        command += ["--addr", f"127.0.0.1:{port}", "--config", str(folder / "rclone.conf")]
        command += ["--cache-dir", str(folder / "cache"), str(data)]
        return Service(
            f"http://127.0.0.1:{port}",
            *admin,
            _command=command,
            _environment={"PATH": os.environ["PATH"], "HOME": str(folder)},
            _log=folder / "rclone.log",
        )

    yield from _running(make)


def _user(name: str) -> tuple[str, str]:
    """An access key and a secret. The secret is a new one, so that no other run's server, which
    took a port in between, is mistaken for this one."""
    return f"AKIA{name}", f"sekret-{secrets.token_hex(8)}"


def _running(make: Callable[[], Service]) -> Iterator[Service]:
    for left in reversed(range(_TRIES)):
        service = make()
        try:
            service.start()
            break
        except RuntimeError:
            service.close()
            if not left:
                raise
    try:
        yield service
    finally:
        service.close()
