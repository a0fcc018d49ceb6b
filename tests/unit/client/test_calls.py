"""What the methods send and read."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from google.protobuf import json_format

from reelsplit import (
    CutMode,
    Input,
    Job,
    JobOrder,
    JobState,
    MediaState,
    Output,
    ReportKind,
    SegmentState,
    ranges,
    shots,
)
from reelsplit.v1 import job_pb2, job_service_pb2, media_pb2, media_service_pb2, segment_pb2
from tests.unit.client.scripted import JOB_ID, Scripted, got, job


def test_submit_sends_all_that_was_asked_for(client: Any, server: Scripted) -> None:
    server.on("SubmitJob", job_service_pb2.SubmitJobResponse(job=job()))
    handle = client.submit(
        Input(uri="film.mp4", endpoint="http://store"),
        ranges((0, 1.5), (Fraction(1, 3), 10), strict=True),
        Output(uri_template="out/{index}.mp4", cut_mode=CutMode.KEYFRAME),
        client_token="mine",
        reports=[ReportKind.SHOTS_CSV],
        user_data={"key": ["ä", 1]},
        notify_url="https://example.com/done",
        notify_segments=True,
        labels={"team": "a"},
        priority=-3,
        timeout=60,
        segment_timeout=Fraction(5, 2),
        time_to_live=3600,
        fail_fast=True,
    )
    assert handle.job_id == JOB_ID
    assert handle.job == Job(job_id=JOB_ID, state=JobState.PENDING)
    assert json_format.MessageToDict(server.requests["SubmitJob"][0]) == {
        "clientToken": "mine",
        "spec": {
            "input": {"uri": "film.mp4", "endpoint": "http://store"},
            "userDefined": {
                "ranges": [
                    {"startOffset": "0s", "endOffset": "1.500s"},
                    {"startOffset": "0.333333333s", "endOffset": "10s"},
                ],
                "strictRanges": True,
            },
            "output": {"uriTemplate": "out/{index}.mp4", "cutMode": "CUT_MODE_KEYFRAME"},
            "reports": {"kinds": ["REPORT_KIND_SHOTS_CSV"]},
            "userData": '{"key":["ä",1]}',
            "notifyUrl": "https://example.com/done",
            "notifySegments": True,
            "labels": {"team": "a"},
            "priority": -3,
            "timeout": "60s",
            "segmentTimeout": "2.500s",
            "timeToLive": "3600s",
            "failFast": True,
        },
    }


def test_submit_leaves_out_what_was_left_out(client: Any, server: Scripted) -> None:
    server.on("SubmitJob", job_service_pb2.SubmitJobResponse(job=job()))
    client.submit("film.mp4", shots(), user_data='{"as": "it is"}')
    request = server.requests["SubmitJob"][0]
    assert len(request.client_token) == 32
    assert json_format.MessageToDict(request.spec) == {
        "input": {"uri": "film.mp4"},
        "shotDetection": {},
        "userData": '{"as": "it is"}',
    }


def test_the_token_of_the_caller_goes_with_every_call(
    connect: Any, target: str, server: Scripted
) -> None:
    server.on("GetJob", got("RUNNING"))
    server.on("WatchJob", lambda request, context: ())
    client = connect(target, token="s3cret")
    client.get(JOB_ID)
    list(client.watch(JOB_ID, resume_token="9"))
    assert [sent["authorization"] for sent in server.metadata] == ["Bearer s3cret"] * 2
    assert str(server.metadata[0]["user-agent"]).startswith("reelsplit-python/")
    assert "s3cret" not in repr(client)


def test_list_walks_all_pages(client: Any, server: Scripted) -> None:
    first = job_service_pb2.ListJobsResponse(
        jobs=[job_pb2.Job(job_id="a"), job_pb2.Job(job_id="b")], next_page_token="2"
    )
    server.on("ListJobs", first, job_service_pb2.ListJobsResponse(jobs=[job_pb2.Job(job_id="c")]))
    since = datetime(2026, 1, 2, tzinfo=UTC)
    found = client.list(
        states=[JobState.RUNNING, JobState.FAILED],
        labels={"a": "b"},
        create_time_from=since,
        order=JobOrder.CREATE_TIME_ASCENDING,
        page_size=2,
    )
    assert [item.job_id for item in found] == ["a", "b", "c"]
    asked = job_service_pb2.ListJobsRequest(
        page_size=2,
        states=[job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_FAILED],
        labels={"a": "b"},
        order=job_service_pb2.JOB_ORDER_CREATE_TIME_ASCENDING,
    )
    asked.create_time_from.FromDatetime(since)
    second = job_service_pb2.ListJobsRequest(page_token="2")
    second.MergeFrom(asked)
    assert server.requests["ListJobs"] == [asked, second]


def test_a_page_carries_the_number_of_all_and_the_token_to_watch_from(
    client: Any, server: Scripted
) -> None:
    server.on(
        "ListJobs",
        job_service_pb2.ListJobsResponse(
            jobs=[job()], next_page_token="n", total_size=7, watch_token="w"
        ),
    )
    page = client.list_page(page_token="p")
    assert (page.next_page_token, page.total_size, page.watch_token) == ("n", 7, "w")
    assert [item.job_id for item in page.jobs] == [JOB_ID]


def test_times_without_a_zone_are_refused(client: Any) -> None:
    with pytest.raises(ValueError, match="create_time_until must carry a time zone"):
        client.list_page(create_time_until=datetime(2026, 1, 2))


def test_segments_walks_all_pages(client: Any, server: Scripted) -> None:
    pages = [
        job_service_pb2.ListSegmentsResponse(
            segments=[segment_pb2.Segment(index=0)], next_page_token="x"
        ),
        job_service_pb2.ListSegmentsResponse(segments=[segment_pb2.Segment(index=1)]),
    ]
    server.on("ListSegments", *pages)
    found = client.job(JOB_ID).segments(states=[SegmentState.PUBLISHED])
    assert [item.index for item in found] == [0, 1]
    requests = server.requests["ListSegments"]
    assert [request.page_token for request in requests] == ["", "x"]
    assert list(requests[0].states) == [segment_pb2.SEGMENT_STATE_PUBLISHED]


def test_a_handle_does_what_the_client_does(client: Any, server: Scripted) -> None:
    server.on("GetJob", got("RUNNING"))
    server.on("CancelJob", job_service_pb2.CancelJobResponse(job=job("CANCELLING")))
    server.on("DeleteJob", job_service_pb2.DeleteJobResponse(deleted_outputs=3))
    server.on("RetryJob", job_service_pb2.RetryJobResponse(job=job("PENDING")))
    handle = client.job(JOB_ID)
    assert handle.job is None
    assert handle.get().state is JobState.RUNNING
    assert handle.cancel().state is JobState.CANCELLING
    assert handle.delete(allow_missing=True, delete_outputs=True, force=True) == 3
    assert handle.retry(client_token="again").state is JobState.PENDING
    assert server.requests["DeleteJob"] == [
        job_service_pb2.DeleteJobRequest(
            job_id=JOB_ID, allow_missing=True, delete_outputs=True, force=True
        )
    ]
    assert server.requests["RetryJob"] == [
        job_service_pb2.RetryJobRequest(job_id=JOB_ID, client_token="again")
    ]


def test_media_assets(client: Any, server: Scripted) -> None:
    media = media_pb2.Media(media_id="m", state=media_pb2.MEDIA_STATE_READY)
    server.on("RegisterMedia", media_service_pb2.RegisterMediaResponse(media=media))
    server.on("GetMedia", media_service_pb2.GetMediaResponse(media=media))
    server.on(
        "ListMedia",
        media_service_pb2.ListMediaResponse(media=[media], next_page_token="2"),
        media_service_pb2.ListMediaResponse(media=[media]),
    )
    server.on("DeleteMedia", media_service_pb2.DeleteMediaResponse())
    made = client.register_media("film.mp4", title="Film", labels={"a": "b"}, user_data=[1])
    assert (made.media_id, made.state) == ("m", MediaState.READY)
    assert client.get_media("m") == client.get_media(uri="film.mp4") == made
    assert list(client.list_media(states=[MediaState.READY])) == [made, made]
    assert client.delete_media("m", delete_file=True) is None
    sent = server.requests["RegisterMedia"][0]
    assert len(sent.client_token) == 32
    assert (sent.uri, sent.title, sent.user_data) == ("film.mp4", "Film", "[1]")
    assert server.requests["GetMedia"] == [
        media_service_pb2.GetMediaRequest(media_id="m"),
        media_service_pb2.GetMediaRequest(uri="film.mp4"),
    ]
    assert server.requests["DeleteMedia"][0].delete_file
    for wrong in ({}, {"media_id": "m", "uri": "film.mp4"}):
        with pytest.raises(ValueError, match="either media_id or uri"):
            client.get_media(**wrong)


def test_a_closed_client_says_so(client: Any) -> None:
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.get(JOB_ID)
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.watch(JOB_ID)
