"""The real SDKs against a real server whose store is SeaweedFS."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reelsplit import Client
from tests.ims import ImsServed, finished, ice, ims_served, results, s3, submission, submit
from tests.services import Service

IN, OUT = "ims-footage", "ims-pieces"
RANGES = {"Mode": "UserDefined", "Ranges": [{"In": 1, "Out": 2.5}, {"In": 4, "Out": 6}]}


class Bucket:
    """What tests look at in a store, with all rights."""

    def __init__(self, service: Service, name: str) -> None:
        self.name = name
        self._client = service.client()
        with contextlib.suppress(self._client.exceptions.ClientError):
            self._client.create_bucket(Bucket=name)

    def put(self, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        with self._client.get_object(Bucket=self.name, Key=key)["Body"] as body:
            return bytes(body.read())

    def keys(self, prefix: str = "") -> list[str]:
        found = self._client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", ())]

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="module")
def footage(seaweed: Service, clip: Path) -> Iterator[Bucket]:
    bucket = Bucket(seaweed, IN)
    for key in ("films/clip.mp4", "dir/视频 a+b.mp4"):
        bucket.put(key, clip.read_bytes())
    yield bucket
    bucket.close()


@pytest.fixture(scope="module")
def pieces(seaweed: Service) -> Iterator[Bucket]:
    bucket = Bucket(seaweed, OUT)
    yield bucket
    bucket.close()


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, seaweed: Service, footage: Bucket, pieces: Bucket
) -> Iterator[ImsServed]:
    aliases = {"oss://test-bucket": f"s3://{IN}"}
    stores = {"main": s3(seaweed, IN, OUT)}
    folder = tmp_path_factory.mktemp("ims")
    with ims_served(folder, stores=stores, bucket_aliases=aliases) as made:
        yield made


@pytest.fixture
def sdk(server: ImsServed) -> Any:
    return ice(server.face)


@pytest.fixture
def grpc(server: ImsServed) -> Iterator[Client]:
    with Client(
        server.grpc.address, token=server.token, allow_insecure_token=True, timeout=60
    ) as made:
        yield made


def test_user_defined(sdk: Any, pieces: Bucket) -> None:
    output = {"Bucket": OUT, "ObjectKey": "a/b_{index}.mp4"}
    data = json.dumps({"test": "22"})
    source = f"oss://{IN}/films/clip.mp4"
    body = finished(sdk, submit(sdk, **submission(source, RANGES, output, user_data=data)))
    assert body.state == "Finished", body.error_message
    print(json.dumps(body.to_map(), indent=1, ensure_ascii=False))
    found = results(body)
    assert [item["ObjectKey"] for item in found] == ["a/b_0.mp4", "a/b_1.mp4"]
