"""The real SDKs against a real server whose store is SeaweedFS."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import av
import pytest
from alibabacloud_ice20201109 import models
from alibabacloud_tea_openapi.exceptions import ClientException

from reelsplit import Client, NotFoundError, OverwritePolicy, every, ranges
from reelsplit_server.access.permissions import Permission
from reelsplit_server.ims.actions import JobActions
from reelsplit_server.ims.callback_actions import CallbackActions
from reelsplit_server.ims.media_actions import MediaActions
from tests.clips import read_numbers
from tests.ims import (
    KEY_ID,
    SECRET,
    ImsServed,
    finished,
    ice,
    ims_served,
    received,
    results,
    submission,
    submit,
)
from tests.keys import new_key
from tests.media import MEDIA, real
from tests.media import footage as footage_names
from tests.services import Service

# The SDK asks for the time in a way that newer versions of Python warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcnow:DeprecationWarning")
_RANGE = "InvalidParameter.OutOfRange"
ADMIN = "adminAccessKeyId"
OTHER, READER, NARROW = "otherAccessKeyId", "readerAccessKeyId", "narrowAccessKeyId"
IN, OUT = "ims-footage", "ims-pieces"
ENDPOINT = "oss-cn-shanghai.aliyuncs.com"
"""That of the store which the bucket has left, and which programs go on naming."""
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
    stores = {"main": {**seaweed.settings(IN, OUT), "endpoint_aliases": [ENDPOINT]}}
    folder = tmp_path_factory.mktemp("ims")
    new_key(folder / "data", "other", key_id=OTHER, secret=SECRET)
    new_key(folder / "data", key_id=READER, secret=SECRET, permissions=[Permission.READ])
    for permission in Permission:
        others = [other for other in Permission if other is not permission]
        for name, some in (("only", [permission]), ("without", others)):
            given = {"key_id": f"{name}.{permission}", "permissions": some}
            new_key(folder / "data", f"{name} {permission}", secret=SECRET, **given)  # type: ignore[arg-type]
    both = [Permission.READ, Permission.ADMIN]
    new_key(folder / "data", "admin", key_id=ADMIN, secret=SECRET, permissions=both)
    new_key(folder / "data", key_id=NARROW, secret=SECRET, write=["s3://elsewhere"])
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


def frames(bucket: Bucket, key: str, folder: Path) -> list[int]:
    """The numbers of the frames of an object."""
    path = folder / "piece.mp4"
    path.write_bytes(bucket.get(key))
    return read_numbers(path)


# --- Splitting -------------------------------------------------------------------------------


def test_user_defined(sdk: Any, pieces: Bucket, tmp_path: Path) -> None:
    output = {"Bucket": OUT, "ObjectKey": "a/b_{index}.mp4", "Endpoint": "", "Width": None}
    data = json.dumps({"test": "22"})
    source = f"oss://{IN}/films/clip.mp4"
    body = finished(sdk, submit(sdk, **submission(source, RANGES, output, user_data=data)))
    assert body.state == "Finished", body.error_message
    found = results(body)
    assert [item["ObjectKey"] for item in found] == ["a/b_0.mp4", "a/b_1.mp4"]
    assert [(item["Start"], item["End"], item["Duration"]) for item in found] == [
        (1.0, 2.5, 1.5),
        (4.0, 6.0, 2.0),
    ]
    assert frames(pieces, "a/b_0.mp4", tmp_path) == list(range(24, 60))
    assert frames(pieces, "a/b_1.mp4", tmp_path) == list(range(96, 144))
    assert (body.user_data, body.error_code) == (data, None)
    info = body.smart_job_info
    assert (info.job_type, info.title) == ("Segmentation", "clip.mp4")
    assert info.user_id.isdigit()
    assert info.create_time.endswith("Z")
    assert (info.output_config.bucket, info.output_config.object) == (OUT, "a/b_{index}.mp4")
    told = json.loads(body.job_result.ai_result)["SegmentationResult"]
    assert told["OutputBucket"] == OUT
    assert told["OutputEndpoint"].startswith("http://127.0.0.1:")


def test_shots_of_an_object_with_an_odd_name(sdk: Any, pieces: Bucket, tmp_path: Path) -> None:
    # As an SDK user wrote it in a recorded request: a URL, and not escaped.
    source = "http://test-bucket.oss-cn-shanghai.aliyuncs.com/dir/视频 a+b.mp4"
    output = {"Bucket": OUT, "ObjectKey": "shots/{index:03d}.mp4"}
    body = finished(sdk, submit(sdk, **submission(source, {"Mode": "BasicClipSplit"}, output)))
    assert body.state == "Finished", body.error_message
    found = results(body)
    assert [item["ObjectKey"] for item in found] == [f"shots/00{n}.mp4" for n in range(3)]
    numbers = [frames(pieces, item["ObjectKey"], tmp_path) for item in found]
    assert [(got[0], got[-1] + 1) for got in numbers] == [(0, 72), (72, 168), (168, 240)]


def test_sizes_codecs_and_rates(sdk: Any, pieces: Bucket, tmp_path: Path) -> None:
    video = {"Codec": "H.265", "Crf": "30", "Bitrate": 3000, "Fps": 12, "Preset": "ultrafast"}
    output = {
        "Bucket": OUT,
        "ObjectKey": "sized_{index}.mp4",
        "Width": 256,
        "Height": 256.0,
        "Video": video,
        "Unheard": {"of": 1},
    }
    params = {"Mode": "UserDefined", "Ranges": [{"In": "1", "Out": 2, "Name": "x"}]}
    source = f"s3://{IN}/films/clip.mp4"
    body = finished(sdk, submit(sdk, **submission(source, params, output)))
    assert body.state == "Finished", body.error_message
    path = tmp_path / "piece.mp4"
    path.write_bytes(pieces.get("sized_0.mp4"))
    with av.open(str(path)) as made:
        stream = made.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("hevc", 256, 256)
        assert (stream.average_rate, stream.frames) == (12, 12)


def test_an_existing_object_is_replaced(sdk: Any, pieces: Bucket, tmp_path: Path) -> None:
    pieces.put("old_0.mp4", b"old")
    params = {"Mode": "UserDefined", "Ranges": [{"In": 0, "Out": 1}]}
    output = {"Bucket": OUT, "ObjectKey": "old_{index}.mp4"}
    body = finished(sdk, submit(sdk, **submission(f"oss://{IN}/films/clip.mp4", params, output)))
    assert body.state == "Finished", body.error_message
    assert frames(pieces, "old_0.mp4", tmp_path) == list(range(24))


@pytest.mark.parametrize(
    ("source", "ranges", "code"),
    [
        ("films/none.mp4", [{"In": 0, "Out": 1}], "InvalidParameter.ResourceNotFound"),
        ("films/text.mp4", [{"In": 0, "Out": 1}], "InvalidParameter.ResourceContentBad"),
        ("films/clip.mp4", [{"In": 0, "Out": 1}, {"In": 100, "Out": 101}], _RANGE),
    ],
)
def test_jobs_that_fail_say_why(
    sdk: Any, footage: Bucket, source: str, ranges: Any, code: str
) -> None:
    footage.put("films/text.mp4", b"this is no film" * 100)
    output = {"Bucket": OUT, "ObjectKey": "failed_{index}.mp4"}
    params = {"Mode": "UserDefined", "Ranges": ranges}
    body = finished(sdk, submit(sdk, **submission(f"oss://{IN}/{source}", params, output)))
    assert (body.state, body.error_code) == ("Failed", code)
    assert body.error_message
    # What was published all the same is listed.
    assert len(results(body) if body.job_result.ai_result else []) == len(ranges) - 1


def test_real_footage(sdk: Any, footage: Bucket, pieces: Bucket, tmp_path: Path) -> None:
    names = footage_names("real")
    path = real(min(names, key=lambda name: (MEDIA / name).stat().st_size) if names else "real")
    footage.put(f"films/{path.name}", path.read_bytes())
    output = {"Bucket": OUT, "ObjectKey": "real_{index}.mp4"}
    params = {"Mode": "UserDefined", "Ranges": [{"In": 1, "Out": 2}]}
    body = finished(sdk, submit(sdk, **submission(f"oss://{IN}/films/{path.name}", params, output)))
    assert body.state == "Finished", body.error_message
    got = tmp_path / "got.mp4"
    got.write_bytes(pieces.get("real_0.mp4"))
    with av.open(str(got)) as made, av.open(str(path)) as source:
        count = sum(1 for _ in made.decode(video=0))
        stream = source.streams.video[0]
        times = [float(frame.time) for frame in itertools.islice(source.decode(stream), 200)]
        assert count == sum(1 <= time - times[0] < 2 for time in times)


# --- Idempotence -----------------------------------------------------------------------------


def test_a_token_makes_one_job(sdk: Any) -> None:
    output = {"Bucket": OUT, "ObjectKey": "once_{index}.mp4"}
    given = submission(f"oss://{IN}/films/clip.mp4", RANGES, output, client_token="once-1")
    first = submit(sdk, **given)
    assert submit(sdk, **given) == first
    # What is not looked at may differ, as the nonce does.
    other = submission(f"oss://{IN}/films/clip.mp4", {**RANGES, "X": 1}, output)
    assert submit(sdk, **other, client_token="once-1") == first
    assert submit(sdk, **other, client_token="Once-1") != first
    with pytest.raises(ClientException) as caught:
        submit(
            sdk,
            **submission(f"oss://{IN}/films/clip.mp4", {"Mode": "BasicClipSplit"}, output),
            client_token="once-1",
        )
    assert caught.value.code == "IdempotentParameterMismatch"
    assert first in caught.value.message


def test_a_request_whose_answer_was_lost_is_sent_again(server: ImsServed) -> None:
    from darabonba.policy.retry import RetryOptions

    output = {"Bucket": OUT, "ObjectKey": "lost_{index}.mp4"}
    given = submission(f"oss://{IN}/films/clip.mp4", RANGES, output, client_token="lost-1")
    with cutting(server.face) as (address, requests):
        # The client's exception for a connection that was lost has no name.
        again = {"maxAttempts": 3, "exception": [None, "RetryError"]}
        client = ice(address, retry_options=RetryOptions(retryCondition=[again]))
        job_id = submit(client, **given)
        assert len(requests) == 2
        nonces = {re.search(rb"x-acs-signature-nonce: (.*)\r", r)[1] for r in requests}  # type: ignore[index]
        assert len(nonces) == 2
    assert submit(ice(server.face), **given) == job_id


@contextlib.contextmanager
def cutting(target: str) -> Iterator[tuple[str, list[bytes]]]:
    """A server before another one: the first request reaches that, and its answer is lost."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []

    def work() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                host, _, port = target.rpartition(":")
                with client, socket.create_connection((host, int(port))) as line:
                    requests.append(received(client))
                    line.sendall(requests[-1])
                    answer = received(line)
                    if len(requests) > 1:
                        client.sendall(answer)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", requests
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


# --- Both faces, and others' jobs ------------------------------------------------------------


def test_jobs_of_either_face_are_seen_from_both(sdk: Any, grpc: Client) -> None:
    output = {"Bucket": OUT, "ObjectKey": "both_{index}.mp4"}
    of_ims = submit(sdk, **submission(f"oss://{IN}/films/clip.mp4", RANGES, output))
    of_grpc = grpc.submit(
        f"s3://{IN}/films/clip.mp4", ranges((0, 1)), f"s3://{OUT}/both/{{index}}.mp4"
    )
    of_grpc.result()
    body = finished(sdk, of_grpc.job_id)
    assert [item["ObjectKey"] for item in results(body)] == ["both/0.mp4"]
    assert finished(sdk, of_ims).state == "Finished"
    job = grpc.get(of_ims)
    assert job.spec is not None
    assert job.spec.output is not None
    assert job.spec.output.overwrite_policy is OverwritePolicy.REPLACE
    assert job.expire_time is not None
    assert job.end_time is not None
    assert job.expire_time - job.end_time == timedelta(days=365)
    listed = [item.job_id for item in _list(sdk, page_size=100).smart_job_list]
    assert listed.index(of_grpc.job_id) < listed.index(of_ims)
    assert of_ims in [job.job_id for job in grpc.list()]


def test_a_cancelled_job_is_failed_with_its_code(sdk: Any, grpc: Client) -> None:
    job = grpc.submit(f"s3://{IN}/films/clip.mp4", every(0.1), f"s3://{OUT}/c/{{index}}.mp4")
    grpc.cancel(job.job_id)
    body = finished(sdk, job.job_id)
    assert (body.state, body.error_code) == ("Failed", "JobCancelled")


def _list(sdk: Any, **given: Any) -> Any:
    return sdk.list_smart_jobs(models.ListSmartJobsRequest(**given)).body


def _get(sdk: Any, job_id: str) -> Any:
    return sdk.get_smart_handle_job(models.GetSmartHandleJobRequest(job_id=job_id)).body


def _delete(sdk: Any, *ids: str) -> None:
    sdk.delete_smart_job(models.DeleteSmartJobRequest(job_id=",".join(ids)))


def test_deleting_and_listing(sdk: Any, grpc: Client) -> None:
    output = {"Bucket": OUT, "ObjectKey": "list_{index}.mp4"}
    params = {"Mode": "UserDefined", "Ranges": [{"In": n / 10, "Out": 10} for n in range(50)]}
    source = f"oss://{IN}/films/clip.mp4"
    ids = [submit(sdk, **submission(source, params, output)) for _ in range(3)]
    newest = _list(sdk, page_no=1, page_size=2)
    assert [item.job_id for item in newest.smart_job_list] == [ids[2], ids[1]]
    second = _list(sdk, page_no=2, page_size=2)
    assert second.smart_job_list[0].job_id == ids[0]
    by_token = _list(sdk, page_size=2, next_token=newest.next_token)
    assert by_token.to_map()["SmartJobList"] == second.to_map()["SmartJobList"]
    assert newest.total_count == str(len(list(grpc.list())))
    assert newest.max_results == "2"
    assert _list(sdk, job_type="Editing").smart_job_list == []
    assert isinstance(newest.smart_job_list[0].user_id, int)
    oldest = _list(sdk, sort_by="CreationTime:Asc", page_size=100).smart_job_list
    assert [item.job_id for item in oldest][-3:] == ids
    # Some of them run by now: they are stopped.
    _delete(sdk, *ids)
    for job_id in ids:
        with pytest.raises(ClientException) as caught:
            _get(sdk, job_id)
        assert (caught.value.code, caught.value.status_code) == ("JobNotFound", 404)
    states = {item.job_state for item in _list(sdk, page_size=100).smart_job_list}
    assert states <= {"Finished", "Failed"}
    failed = _list(sdk, job_state="Failed", page_size=100).smart_job_list
    assert {item.job_state for item in failed} <= {"Failed"}


def test_one_wrong_id_deletes_none(sdk: Any) -> None:
    output = {"Bucket": OUT, "ObjectKey": "kept_{index}.mp4"}
    job_id = submit(sdk, **submission(f"oss://{IN}/films/clip.mp4", RANGES, output))
    for wrong in ("job-1", "0" * 32):
        with pytest.raises(ClientException) as caught:
            _delete(sdk, job_id, wrong)
        assert caught.value.code == "JobNotFound"
    assert _get(sdk, job_id).job_id == job_id


def test_others_learn_nothing(server: ImsServed, sdk: Any) -> None:
    output = {"Bucket": OUT, "ObjectKey": "mine_{index}.mp4"}
    job_id = submit(sdk, **submission(f"oss://{IN}/films/clip.mp4", RANGES, output))
    other = ice(server.face, key_id=OTHER)
    told = []
    for asked in (job_id, "0" * 32):
        for work in (_get, _delete):
            with pytest.raises(ClientException) as caught:
                work(other, asked)
            told.append((caught.value.code, caught.value.message.split(asked)[0]))
    assert told[:2] == told[2:]
    assert _list(other).smart_job_list == []
    # The same token is another one.
    given = submission(f"oss://{IN}/films/clip.mp4", RANGES, output, client_token="shared")
    assert submit(sdk, **given) != submit(other, **given)


def test_what_a_key_may_not(server: ImsServed, sdk: Any) -> None:
    reader = ice(server.face, key_id=READER)
    output = {"Bucket": OUT, "ObjectKey": "denied_{index}.mp4"}
    given = submission(f"oss://{IN}/films/clip.mp4", RANGES, output)
    with pytest.raises(ClientException) as caught:
        submit(reader, **given)
    assert (caught.value.code, caught.value.status_code) == ("Forbidden", 403)
    job_id = submit(sdk, **given)
    assert _get(reader, job_id).job_id == job_id
    narrow = ice(server.face, key_id=NARROW)
    with pytest.raises(ClientException) as caught:
        submit(narrow, **given)
    assert (caught.value.code, caught.value.status_code) == ("BucketNotAuthorized", 403)
    with pytest.raises(ClientException) as caught:
        submit(sdk, **submission("oss://nobodys/films/clip.mp4", RANGES, output))
    assert caught.value.code == "BucketNotAuthorized"
    assert "nobodys" in caught.value.message


_CALLBACK = models.SetEventCallbackRequest(callback_url="https://www.example.com/cb")
_IDS = {"media_ids": "0" * 32}
ACTIONS = {
    "SubmitSegmentationJob": (Permission.SUBMIT, lambda c: submit(c, **_plain())),
    "GetSmartHandleJob": (Permission.READ, lambda c: _get(c, "0" * 32)),
    "ListSmartJobs": (Permission.READ, lambda c: _list(c)),
    "DeleteSmartJob": (Permission.DELETE, lambda c: _delete(c, "0" * 32)),
    "RegisterMediaInfo": (Permission.MEDIA, lambda c: registered(c, f"oss://{IN}/a.mp4")),
    "GetMediaInfo": (
        Permission.READ,
        lambda c: c.get_media_info(models.GetMediaInfoRequest(media_id="0" * 32)),
    ),
    "ListMediaBasicInfos": (
        Permission.READ,
        lambda c: c.list_media_basic_infos(models.ListMediaBasicInfosRequest()),
    ),
    "BatchGetMediaInfos": (
        Permission.READ,
        lambda c: c.batch_get_media_infos(models.BatchGetMediaInfosRequest(**_IDS)),
    ),
    "DeleteMediaInfos": (
        Permission.MEDIA,
        lambda c: c.delete_media_infos(models.DeleteMediaInfosRequest(**_IDS)),
    ),
    "SetEventCallback": (Permission.SUBMIT, lambda c: c.set_event_callback(_CALLBACK)),
    "GetEventCallback": (Permission.READ, lambda c: c.get_event_callback()),
}


def _plain() -> dict[str, str]:
    output = {"Bucket": OUT, "ObjectKey": "plain_{index}.mp4"}
    return submission(f"oss://{IN}/films/clip.mp4", RANGES, output)


def test_every_action_stands_in_the_matrix() -> None:
    cases: Any = object()
    served: set[str] = set()
    for operations in (JobActions(cases), MediaActions(cases), CallbackActions(cases)):
        served |= set(operations.table)
    assert set(ACTIONS) == served


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_needs_its_permission_and_no_other(server: ImsServed, action: str) -> None:
    needed, call = ACTIONS[action]

    def is_denied(key_id: str) -> bool:
        try:
            call(ice(server.face, key_id=key_id))
        except ClientException as error:
            return bool(error.code == "Forbidden")
        return False

    for permission in Permission:
        assert is_denied(f"only.{permission}") == (permission is not needed), permission
        assert is_denied(f"without.{permission}") == (permission is needed), permission


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"input_config": "{"}, "InputConfig is not JSON"),
        ({"output_config": "[" * 10_000}, "OutputConfig is not JSON"),
        ({"job_params": "'Mode'"}, "JobParams is not JSON"),
        ({"user_data": "{'a': 1}"}, "UserData is not JSON"),
        ({"user_data": '{"a": NaN}'}, "UserData is not JSON"),
        ({"user_data": json.dumps("x" * 511)}, "UserData has 513 bytes; at most 512"),
        ({"user_data": '{"NotifyAddress": "ice-queue"}'}, "UserData.NotifyAddress cannot be"),
        ({"client_token": "x" * 65}, "ClientToken takes 1 to 64"),
        ({"client_token": "\N{SNOWMAN}"}, "ClientToken takes 1 to 64"),
        ({"job_params": '{"Mode": "Auto"}'}, "take UserDefined, .* or BasicClipSplit"),
        (
            {"job_params": '{"Mode": "BasicClipSplit", "Ranges": [{"In": 0, "Out": 1}]}'},
            "JobParams.Ranges belongs to Mode UserDefined",
        ),
    ],
)
def test_malformed_parameters_are_named(sdk: Any, given: dict[str, str], said: str) -> None:
    with pytest.raises(ClientException, match=said) as caught:
        submit(sdk, **{**_plain(), **given})
    assert (caught.value.code, caught.value.status_code) == ("InvalidParameter", 400)


def test_tokens_of_pages_are_named(sdk: Any) -> None:
    for call in (
        lambda: sdk.list_smart_jobs(models.ListSmartJobsRequest(next_token="odd")),
        lambda: sdk.list_media_basic_infos(models.ListMediaBasicInfosRequest(next_token="odd")),
    ):
        with pytest.raises(
            ClientException, match="NextToken was not made by this server"
        ) as caught:
            call()
        assert caught.value.code == "InvalidParameter"


def test_an_administrator_sees_the_jobs_of_others(server: ImsServed, sdk: Any) -> None:
    job_id = submit(sdk, **_plain())
    assert _get(ice(server.face, key_id=ADMIN), job_id).job_id == job_id


# --- Other SDKs ------------------------------------------------------------------------------


async def test_the_asynchronous_client(server: ImsServed) -> None:
    client = ice(server.face)
    output = {"Bucket": OUT, "ObjectKey": "async/a~*_{index}.mp4"}
    data = json.dumps({"a": "b&c=d;e/f?g *~"})
    given = submission(f"oss://{IN}/dir/视频 a+b.mp4", RANGES, output, user_data=data)
    request = models.SubmitSegmentationJobRequest(**given, client_token="t+1")
    answer = await client.submit_segmentation_job_async(request)
    again = await client.submit_segmentation_job_async(request)
    assert again.body.job_id == answer.body.job_id
    get = models.GetSmartHandleJobRequest(job_id=answer.body.job_id)
    for _ in range(600):
        body = (await client.get_smart_handle_job_async(get)).body
        if body.state in ("Finished", "Failed"):
            break
        await asyncio.sleep(0.1)
    assert (body.state, body.user_data) == ("Finished", data)
    assert [item["ObjectKey"] for item in results(body)] == [
        "async/a~*_0.mp4",
        "async/a~*_1.mp4",
    ]
    with pytest.raises(ClientException) as caught:
        await client.get_smart_handle_job_async(models.GetSmartHandleJobRequest(job_id="no"))
    assert caught.value.code == "JobNotFound"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_legacy_core(server: ImsServed, method: str) -> None:
    from aliyunsdkcore.acs_exception.exceptions import ServerException as CoreError
    from aliyunsdkcore.client import AcsClient
    from aliyunsdkcore.request import CommonRequest

    client = AcsClient(KEY_ID, SECRET, "cn-shanghai")

    def ask(action: str, **parameters: str) -> Any:
        request = CommonRequest(
            domain=server.face, version="2020-11-09", action_name=action, product="ICE"
        )
        request.set_method(method)
        request.set_protocol_type("http")
        for name, value in parameters.items():
            if method == "POST" and name == "InputConfig":
                request.add_body_params(name, value)
            else:
                request.add_query_param(name, value)
        return json.loads(client.do_action_with_exception(request))

    source = {"Type": "OSS", "Media": f"oss://{IN}/dir/视频 a+b.mp4"}
    output = {"OutputMediaTarget": "oss-object", "Bucket": OUT, "ObjectKey": "core_{index}.mp4"}
    job_id = ask(
        "SubmitSegmentationJob",
        ClientToken=f"tok-{method}",
        InputConfig=json.dumps(source, ensure_ascii=False),
        JobParams=json.dumps(RANGES),
        OutputConfig=json.dumps(output),
    )["JobId"]
    while (body := ask("GetSmartHandleJob", JobId=job_id))["State"] not in ("Finished", "Failed"):
        time.sleep(0.1)
    assert body["State"] == "Finished"
    told = json.loads(body["JobResult"]["AiResult"])["SegmentationResult"]
    assert len(told["OutputObjectResults"]) == 2
    with pytest.raises(CoreError) as caught:
        ask("GetSmartHandleJob", JobId="nothing")
    assert caught.value.get_error_code() == "JobNotFound"
    assert caught.value.get_http_status() == 404
    with pytest.raises(CoreError) as caught:
        ask("SearchMedia", Match="title = 'a'")
    assert caught.value.get_error_code() == "InvalidApi.NotFound"


@pytest.mark.parametrize("options", [{"signature_algorithm": "v2"}, {"security_token": "sts=="}])
def test_other_ways_to_sign(server: ImsServed, options: dict[str, str]) -> None:
    client = ice(server.face, **options)
    output = {"Bucket": OUT, "ObjectKey": "signed_{index}.mp4"}
    given = submission(f"oss://{IN}/dir/视频 a+b.mp4", RANGES, output, user_data='{"a": "~* +"}')
    job_id = submit(client, **given)
    assert _get(client, job_id).user_data == '{"a": "~* +"}'


@pytest.mark.long
def test_the_older_sdk(server: ImsServed, tmp_path: Path) -> None:
    """Two versions cannot live in one environment, so it gets one of its own."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    install = [venv / "bin" / "pip", "install", "-q", "alibabacloud-ice20201109==5.0.0"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"alibabacloud-ice20201109 5.0.0 cannot be installed: {done.stderr[-300:]}")
    script = Path(__file__).with_name("older_sdk.py")
    arguments = [server.face, KEY_ID, SECRET, f"oss://{IN}/dir/视频 a+b.mp4", OUT]
    done = subprocess.run(
        [venv / "bin" / "python", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["version"] == "5.0.0"
    assert told["state"] == "Finished"
    assert [item["ObjectKey"] for item in told["results"]] == ["older_0.mp4", "older_1.mp4"]
    assert told["again"] is True
    assert told["codes"] == ["JobNotFound", "InvalidParameter", "IdempotentParameterMismatch"]


# --- Media assets and callbacks --------------------------------------------------------------


def registered(sdk: Any, url: str, **given: Any) -> str:
    request = models.RegisterMediaInfoRequest(input_url=url, **given)
    return str(sdk.register_media_info(request).body.media_id)


def opened(sdk: Any, **key: str) -> Any:
    """GetMediaInfo, once the file's facts are known."""
    for _ in range(600):
        info = sdk.get_media_info(models.GetMediaInfoRequest(**key)).body.media_info
        if info.media_basic_info.status in ("Normal", "PrepareFail"):
            return info
        assert info.media_basic_info.status in ("Init", "Preparing")
        time.sleep(0.1)
    raise AssertionError("it was not opened")


def test_an_asset_from_its_registration_to_its_end(sdk: Any, pieces: Bucket, clip: Path) -> None:
    pieces.put("media/film.mp4", clip.read_bytes())
    url = f"oss://{OUT}/media/film.mp4"
    media_id = registered(
        sdk,
        url,
        title="标题",
        description="about",
        media_tags="a,b",
        cate_id=3045,
        business_type="opening",
        media_type="video",
        user_data='{"a":1}',
        client_token="register-1",
    )
    assert re.fullmatch("[0-9a-f]{32}", media_id)
    assert registered(sdk, url) == media_id
    info = opened(sdk, media_id=media_id)
    basic = info.media_basic_info
    assert (basic.status, basic.title, basic.description) == ("Normal", "标题", "about")
    assert (basic.media_tags, basic.cate_id, basic.business_type) == ("a,b", 3045, "opening")
    assert (basic.media_type, basic.user_data) == ("video", '{"a":1}')
    (file,) = info.file_info_list
    facts = file.file_basic_info
    assert (facts.file_name, facts.duration) == ("film.mp4", "10.000000")
    assert facts.file_size == str(clip.stat().st_size)
    assert (file.video_stream_info_list[0].codec_name, facts.format_name) == ("h264", "mp4")
    assert len(file.audio_stream_info_list) == 1
    assert opened(sdk, input_url=url).media_id == media_id
    listed = sdk.list_media_basic_infos(
        models.ListMediaBasicInfosRequest(
            business_type="opening", include_file_basic_info=True, status="Normal", max_results=5
        )
    ).body
    assert [item.media_id for item in listed.media_infos] == [media_id]
    assert listed.media_infos[0].file_info_list[0].file_basic_info.duration == "10.000000"
    assert (listed.total_count, listed.max_results) == (1, 5)
    batch = sdk.batch_get_media_infos(
        models.BatchGetMediaInfosRequest(media_ids=f"{media_id},{'0' * 32},odd")
    ).body
    assert [item.media_id for item in batch.media_infos] == [media_id]
    assert batch.ignored_list == ["0" * 32, "odd"]

    again = registered(sdk, url, overwrite=True)
    assert again != media_id
    deleted = sdk.delete_media_infos(
        models.DeleteMediaInfosRequest(media_ids=f"{media_id},{again}", delete_physical_files=False)
    ).body
    assert (deleted.ignored_list, deleted.forbidden_list) == ([media_id], [])
    assert pieces.keys("media/") == ["media/film.mp4"]
    registered(sdk, url)
    sdk.delete_media_infos(
        models.DeleteMediaInfosRequest(input_urls=url, delete_physical_files=True)
    )
    assert pieces.keys("media/") == []
    with pytest.raises(ClientException) as caught:
        sdk.get_media_info(models.GetMediaInfoRequest(input_url=url))
    assert (caught.value.code, caught.value.status_code) == ("InvalidParameter", 400)


def test_assets_as_input_and_output(sdk: Any, grpc: Client) -> None:
    media_id = registered(sdk, f"oss://{IN}/films/clip.mp4")
    output = {"Bucket": OUT, "ObjectKey": "exported_{index}.mp4", "ExportAsNewMedia": True}
    source = {"Type": "Media", "Media": media_id}
    body = finished(sdk, submit(sdk, **submission(source, RANGES, output)))
    assert body.state == "Finished", body.error_message
    assert body.smart_job_info.input_config.input_file == media_id
    ids = [item["MediaId"] for item in results(body)]
    assert len(set(ids)) == 2
    info = opened(sdk, media_id=ids[0])
    assert info.file_info_list[0].file_basic_info.duration == "1.500000"
    assert grpc.get_media(ids[1]).job_id == body.job_id
    with pytest.raises(ClientException) as caught:
        submit(sdk, **submission({"Type": "Media", "Media": "0" * 32}, RANGES, output))
    assert caught.value.code == "InvalidParameter"
    assert "media asset" in caught.value.message
    given = submission({"Type": "Media", "Media": media_id}, RANGES, output)
    with pytest.raises(ClientException) as caught:
        submit(ice(sdk._endpoint, key_id=OTHER), **given)
    assert caught.value.code == "InvalidParameter"


def test_a_bucket_that_has_moved_is_named_as_before(
    sdk: Any, grpc: Client, pieces: Bucket, clip: Path
) -> None:
    pieces.put("moved/film.mp4", clip.read_bytes())
    forms = [
        f"oss://{OUT}.{ENDPOINT}/moved/film.mp4",
        f"http://{OUT}.{ENDPOINT}/moved/film.mp4",
        f"https://{OUT}.{ENDPOINT}/moved/film.mp4",
    ]
    media_id = registered(sdk, forms[0], client_token="moved")
    assert registered(sdk, forms[0], client_token="moved") == media_id
    for form in forms:
        assert registered(sdk, form) == media_id
        info = opened(sdk, input_url=form)
        assert (info.media_id, info.media_basic_info.status) == (media_id, "Normal")
    output = {"Bucket": OUT, "ObjectKey": "from_moved_{index}.mp4", "Endpoint": ENDPOINT}
    for source in (forms[2], {"Type": "Media", "Media": media_id}):
        body = finished(sdk, submit(sdk, **submission(source, RANGES, output)))
        assert body.state == "Finished", body.error_message
    # Without its endpoint the location is another one.
    other = registered(sdk, f"oss://{OUT}/moved/film.mp4")
    assert other != media_id
    deleted = sdk.delete_media_infos(
        models.DeleteMediaInfosRequest(input_urls=forms[1], delete_physical_files=True)
    ).body
    assert (deleted.ignored_list, deleted.forbidden_list) == ([], [])
    assert pieces.keys("moved/") == []
    assert grpc.get_media(other).media_id == other
    with pytest.raises(NotFoundError):
        grpc.get_media(media_id)


def test_assets_that_are_not_there(sdk: Any) -> None:
    info = opened(sdk, media_id=registered(sdk, f"oss://{IN}/films/nothing.mp4"))
    assert info.media_basic_info.status == "PrepareFail"
    with pytest.raises(ClientException) as caught:
        registered(sdk, "oss://nobodys/a.mp4")
    assert caught.value.code == "BucketNotAuthorized"
    for wrong in ({"media_type": "image"}, {"user_data": "{"}, {"title": "x" * 129}):
        with pytest.raises(ClientException) as caught:
            registered(sdk, f"oss://{IN}/films/clip.mp4", **wrong)
        assert caught.value.code == "InvalidParameter"
        assert caught.value.message.split(", ")[1].startswith(("MediaType", "UserData", "Title"))


def test_the_callback_of_the_account(sdk: Any) -> None:
    def get() -> Any:
        return sdk.get_event_callback().body

    assert get().callback_url == ""
    request = models.SetEventCallbackRequest(
        callback_type="HTTP",
        callback_url="https://www.example.com/your/callback",
        auth_switch="on",
        auth_key="Test123",
        event_type_list="ProduceMediaComplete,TranscodeComplete",
    )
    assert sdk.set_event_callback(request).body.success is True
    found = get()
    assert (found.callback_type, found.callback_url) == (
        "HTTP",
        "https://www.example.com/your/callback",
    )
    assert (found.auth_switch, found.auth_key) == ("on", "Test123")
    assert found.event_type_list == "ProduceMediaComplete,TranscodeComplete"
    for wrong in (
        {"callback_type": "MNS"},
        {"callback_url": "ftp://a/b"},
        {"callback_url": "https://a.example", "auth_switch": "on"},
    ):
        with pytest.raises(ClientException) as caught:
            sdk.set_event_callback(models.SetEventCallbackRequest(**wrong))
        assert caught.value.code in ("InvalidParameter", "MissingParameter")
    sdk.set_event_callback(models.SetEventCallbackRequest(callback_url=""))
    assert get().callback_url == ""
