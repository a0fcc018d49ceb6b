"""Handing over what a unit has made."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from reelsplit_server.media.stages import stage
from reelsplit_server.storage.checksums import digest
from reelsplit_server.storage.grants import (
    Part,
    PartsUpload,
    Placed,
    Request,
    SessionUpload,
    Signed,
)
from reelsplit_server.storage.uploading import upload
from reelsplit_server.work.asks import Finished, ReportFinished, Sign, Uploaded
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.targets import Delivery


def publish(
    delivery: Delivery,
    finished: Callable[[int, str], Finished | ReportFinished],
    channel: Channel,
) -> None:
    """Have the finished file of a delivery published; ``finished`` announces its size and checksum.

    A local file is placed by the server itself; to a store the worker uploads it, and the server
    makes it appear. Raises `StorageError`.
    """
    with delivery.scratch.open("rb") as made:
        os.fsync(made.fileno())
        ask = finished(os.fstat(made.fileno()).st_size, digest(made))
    with stage("publish"):
        answer = channel.ask(ask)
    if isinstance(answer, PartsUpload | SessionUpload):

        def sign(parts: Sequence[Part]) -> list[Request]:
            signed = channel.ask(Sign(parts=parts))
            assert isinstance(signed, Signed)
            return list(signed.requests)

        with stage("upload"):
            etags = upload(delivery.scratch, answer, sign, delivery.label)
        with stage("publish"):
            answer = channel.ask(Uploaded(etags=etags))
    assert isinstance(answer, Placed)
