"""The object stores that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.services import Service


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """SeaweedFS, over HTTP and TLS. Tests that kill it start their own."""
    from tests.services import seaweedfs

    with seaweedfs(tmp_path_factory.mktemp("seaweed")) as service:
        yield service


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """rclone's S3 server."""
    from tests.services import rclone_s3

    with rclone_s3(tmp_path_factory.mktemp("rclone")) as service:
        yield service


@pytest.fixture(params=["seaweed", "rclone"])
def service(request: pytest.FixtureRequest) -> Service:
    """Each of the two, in turn."""
    found: Service = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def bucket(service: Service) -> str:
    """A bucket of `service`, shared by all tests: each has its own keys."""
    return service.bucket("films")
