"""A server with the IMS face, and the SDKs that speak to it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.keys import new_key
from tests.ports import free_ports
from tests.server import Served, served

KEY_ID, SECRET = "testAccessKeyId", "testAccessKeySecret"
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class ImsServed:
    """A server with both faces; ``token`` is the bearer token of the same key."""

    face: str
    """HOST:PORT of the IMS face."""
    grpc: Served
    token: str


@contextmanager
def ims_served(folder: Path, **settings: Any) -> Iterator[ImsServed]:
    """A server in this process with one key, that of the principal ``team``."""
    made = new_key(folder / "data", key_id=KEY_ID, secret=SECRET)
    assert made.token is not None
    (port,) = free_ports(1)
    face = f"127.0.0.1:{port}"
    with served(folder, ims_listen=face, **settings) as grpc:
        yield ImsServed(face, grpc, made.token)


def ice(face: str, *, key_id: str = KEY_ID, secret: str = SECRET, **options: Any) -> Any:
    """The current SDK's client."""
    from alibabacloud_ice20201109.client import Client
    from alibabacloud_tea_openapi.utils_models import Config

    given = {"access_key_id": key_id, "access_key_secret": secret, "protocol": "http"}
    return Client(Config(endpoint=face, **(given | options)))


def submission(
    source: Mapping[str, Any] | str,
    params: Mapping[str, Any],
    output: Mapping[str, Any],
    **others: Any,
) -> dict[str, str]:
    """The parameters of SubmitSegmentationJob, in the names that the SDK gives them."""
    config = {"Type": "OSS", "Media": source} if isinstance(source, str) else source
    return {
        "input_config": json.dumps(config),
        "job_params": json.dumps(params),
        "output_config": json.dumps({"OutputMediaTarget": "oss-object", **output}),
        **others,
    }


def submit(client: Any, **parameters: str) -> str:
    """Submit a job; answers its id."""
    from alibabacloud_ice20201109 import models

    request = models.SubmitSegmentationJobRequest(**parameters)
    return str(client.submit_segmentation_job(request).body.job_id)


def finished(client: Any, job_id: str) -> Any:
    """Poll a job to its end; answers what GetSmartHandleJob says then."""
    from alibabacloud_ice20201109 import models

    deadline = time.monotonic() + _PATIENCE
    while True:
        request = models.GetSmartHandleJobRequest(job_id=job_id)
        body = client.get_smart_handle_job(request).body
        if body.state in ("Finished", "Failed"):
            return body
        assert body.state in ("Created", "Executing")
        assert time.monotonic() < deadline, body
        time.sleep(0.1)


def results(body: Any) -> list[dict[str, Any]]:
    """The segments that AiResult lists."""
    found = json.loads(body.job_result.ai_result)["SegmentationResult"]["OutputObjectResults"]
    return list(found)


def received(line: socket.socket) -> bytes:
    """One whole request or answer; what there is, where the connection ends before."""
    found = b""
    while b"\r\n\r\n" not in found:
        part = line.recv(65536)
        if not part:
            return found
        found += part
    head, _, body = found.partition(b"\r\n\r\n")
    rows = dict(row.lower().split(b": ", 1) for row in head.split(b"\r\n")[1:])
    length = int(rows.get(b"content-length", b"0"))
    while len(body) < length:
        part = line.recv(65536)
        assert part
        body += part
    return head + b"\r\n\r\n" + body
