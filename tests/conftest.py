"""What many tests share: a clip, and a server that is started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from reelsplit_server.work.priority import forgo_real_time

if TYPE_CHECKING:
    from tests.server import Served
    from tests.services import Service

# How long an example takes is the machine's, which others may load.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
# Tests encode in this process too.
forgo_real_time()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds at 24 frames a second, with shots from 0, 3 and 7 seconds on, and sound."""
    from tests.clips import AudioTrack, make_clip

    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    make_clip(path, frames=240, shots=[72, 168], audio=[AudioTrack()])
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Served]:
    """A server with the default settings; ``clip.mp4`` lies in its root."""
    from tests.server import served

    folder = tmp_path_factory.mktemp("server")
    (folder / "root").mkdir()
    (folder / "root" / "clip.mp4").write_bytes(clip.read_bytes())
    with served(folder) as made:
        yield made


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """SeaweedFS, for all tests that do not kill it."""
    from tests.services import seaweedfs

    with seaweedfs(tmp_path_factory.mktemp("seaweed")) as made:
        yield made


@pytest.fixture
def own_seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """SeaweedFS for one test, which may kill it."""
    from tests.services import seaweedfs

    with seaweedfs(tmp_path_factory.mktemp("seaweed")) as made:
        yield made


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """rclone's S3 server."""
    from tests.services import rclone_s3

    with rclone_s3(tmp_path_factory.mktemp("rclone")) as made:
        yield made
