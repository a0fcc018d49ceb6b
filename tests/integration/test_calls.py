"""Calls on a running server: who may make them, how many, and what they answer."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from reelsplit import (
    TLS,
    AlreadyExistsError,
    Client,
    FailedPreconditionError,
    InvalidRequestError,
    JobState,
    NotFoundError,
    Output,
    ReelsplitError,
    ResourceExhaustedError,
    RetryPolicy,
    SegmentState,
    UnauthenticatedError,
    UnavailableError,
    VideoEncoding,
    every,
    ranges,
    shots,
)
from reelsplit.v1 import job_service_pb2 as pb
from reelsplit.v1 import spec_pb2
from reelsplit.v1.job_service_pb2_grpc import JobServiceStub
from tests.server import Served, served, wait_for

QUICK = VideoEncoding(preset="ultrafast")
SLOW = VideoEncoding(preset="slow", crf=0)
ONCE = RetryPolicy(attempts=1)
ALICE, BOB = "alice-0123456789abcdef", "bob-0123456789abcdef"


def _slow(client: Client, server: Served, name: str, **values: object) -> str:
    """A job that takes some seconds."""
    output = Output(uri_template=f"{server.root}/{name}/{{index}}.mp4", video=SLOW, width=1280)
    film = str(server.root / "clip.mp4")
    return client.submit(film, every(1), output, **values).job_id  # type: ignore[arg-type]


# --- Health, reflection, what is not there ---------------------------------------------------


def test_health_is_told_for_each_service(server: Served) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "reelsplit.v1.JobService", "reelsplit.v1.MediaService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(server: Served) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([request]), timeout=30)
    names = {service.name for service in answer.list_services_response.service}
    assert {"reelsplit.v1.JobService", "reelsplit.v1.MediaService"} <= names


@pytest.mark.parametrize("job_id", ["", "x", "A" * 32, "0" * 31, "../" * 10])
def test_a_malformed_id_is_no_job(client: Client, job_id: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.get(job_id)
    assert [item.field for item in caught.value.violations] == ["job_id"]


def test_an_unknown_job_is_not_found_by_any_call(client: Client) -> None:
    job = client.job("0" * 32)
    for call in (
        job.get,
        job.cancel,
        job.delete,
        job.retry,
        lambda: list(job.segments()),
        lambda: list(job.watch()),
    ):
        with pytest.raises(NotFoundError) as caught:
            call()
        assert caught.value.reason == "JOB_NOT_FOUND"
    assert job.delete(allow_missing=True) == 0


# --- Requests --------------------------------------------------------------------------------


def test_every_wrong_field_comes_back_at_once(client: Client) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        client.submit("film.mp4", ranges((3, 2)), "/nowhere/x.avi", priority=1000)
    assert {item.field for item in caught.value.violations} == {
        "spec.input.uri",
        "spec.user_defined.ranges[0].end_offset",
        "spec.output.uri_template",
        "spec.priority",
    }


@pytest.mark.parametrize("letter", ["A", "ä", "☃", "😀"])
def test_very_many_wrong_fields_still_come_back(client: Client, film: str, letter: str) -> None:
    """A status travels in headers, which are short."""
    labels = {letter * 60 + str(n): "x" * 129 for n in range(200)}
    with pytest.raises(InvalidRequestError) as caught:
        client.submit(film, ranges(*((2, 1) for _ in range(5000))), None, labels=labels)
    assert (caught.value.reason, caught.value.code) == (
        "INVALID_FIELD",
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    assert len(caught.value.violations) > 5


def _submit(server: Served, request: pb.SubmitJobRequest) -> grpc.RpcError:
    with grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            JobServiceStub(channel).SubmitJob(request, timeout=30)
        return caught.value


def _spec(server: Served) -> spec_pb2.JobSpec:
    spec = spec_pb2.JobSpec()
    spec.input.uri = str(server.root / "clip.mp4")
    spec.fixed_interval.interval.seconds = 5
    return spec


def test_an_unknown_enum_number_is_refused(server: Served) -> None:
    spec = _spec(server)
    spec.output.uri_template = f"{server.root}/{{index}}.mp4"
    spec.output.cut_mode = 99  # type: ignore[assignment]
    error = _submit(server, pb.SubmitJobRequest(spec=spec))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    assert "spec.output.cut_mode" in error.details()  # type: ignore[attr-defined]


def test_a_field_of_a_newer_contract_is_refused(server: Served) -> None:
    spec = spec_pb2.JobSpec.FromString(_spec(server).SerializeToString() + b"\xf8\x3f\x01")
    error = _submit(server, pb.SubmitJobRequest(spec=spec))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    assert "1023" in error.details()  # type: ignore[attr-defined]


def test_a_spec_is_required(server: Served) -> None:
    error = _submit(server, pb.SubmitJobRequest())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]
    assert "spec is required" in error.details()  # type: ignore[attr-defined]


def test_an_unknown_state_or_order_in_a_list_is_refused(server: Served) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = JobServiceStub(channel)
        for request in (
            pb.ListJobsRequest(states=[99]),  # type: ignore[list-item]
            pb.ListJobsRequest(states=[0]),  # type: ignore[list-item]
            pb.ListJobsRequest(order=99),  # type: ignore[arg-type]
            pb.ListJobsRequest(page_size=-1),
            pb.ListJobsRequest(page_token="nonsense"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                stub.ListJobs(request, timeout=30)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # type: ignore[attr-defined]


def test_the_same_token_makes_one_job_also_at_the_same_time(client: Client, film: str) -> None:
    def submit(interval: int) -> str:
        return client.submit(film, every(interval), client_token="one-job").job_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(submit, [5] * 8))) == 1
    with pytest.raises(AlreadyExistsError) as caught:
        submit(6)
    assert caught.value.reason == "CLIENT_TOKEN_REUSED"
    assert caught.value.metadata == {"job_id": submit(5)}


def test_lists_come_in_pages_whose_tokens_belong_to_their_filter(client: Client, film: str) -> None:
    mine = {client.submit(film, every(5), labels={"list": "pages"}).job_id for _ in range(5)}
    found = [job.job_id for job in client.list(labels={"list": "pages"}, page_size=2)]
    assert len(found) == 5
    assert set(found) == mine
    page = client.list_page(labels={"list": "pages"}, page_size=2)
    assert (len(page.jobs), page.total_size) == (2, 5)
    with pytest.raises(InvalidRequestError) as caught:
        client.list_page(labels={"list": "other"}, page_token=page.next_page_token)
    assert caught.value.reason == "INVALID_TOKEN"


def test_segments_come_in_pages(server: Served, client: Client, film: str) -> None:
    handle = client.submit(film, every(1))
    handle.result(timeout=90)
    with grpc.insecure_channel(server.address) as channel:
        stub, seen, token = JobServiceStub(channel), [], ""
        while True:
            request = pb.ListSegmentsRequest(job_id=handle.job_id, page_size=3, page_token=token)
            page = stub.ListSegments(request, timeout=30)
            seen += [segment.index for segment in page.segments]
            token = page.next_page_token
            if not token:
                break
        assert seen == list(range(10))
        assert page.total_size == 10


# --- Cancel and delete -----------------------------------------------------------------------


def test_a_cancelled_job_keeps_what_it_published_and_can_be_retried(
    client: Client, server: Served
) -> None:
    job_id = _slow(client, server, "cancelled")
    wait_for(lambda: client.get(job_id).progress.published_count)  # type: ignore[union-attr]
    job = client.cancel(job_id)
    assert job.state is JobState.CANCELLED
    segments = list(client.segments(job_id))
    assert {s.state for s in segments} <= {SegmentState.PUBLISHED, SegmentState.PLANNED}
    published = [s for s in segments if s.state is SegmentState.PUBLISHED]
    assert 0 < len(published) < 10
    there = {str(path) for path in (server.root / "cancelled").iterdir()}
    assert there == {segment.uri for segment in published}
    assert client.cancel(job_id).state is JobState.CANCELLED
    client.retry(job_id)
    assert client.wait(job_id, timeout=90).state is JobState.SUCCEEDED


def test_a_job_cancelled_right_after_its_submission_is_cancelled(
    client: Client, film: str, out: Path
) -> None:
    for number in range(6):
        output = Output(uri_template=f"{out}/{number}/{{index}}.mp4", video=SLOW, width=1280)
        handle = client.submit(film, every(1), output)
        handle.cancel()
        assert handle.wait(timeout=60).state is JobState.CANCELLED


def test_a_running_job_is_deleted_only_by_force(client: Client, server: Served) -> None:
    job_id = _slow(client, server, "deleted")
    wait_for(lambda: client.get(job_id).progress.published_count)  # type: ignore[union-attr]
    with pytest.raises(FailedPreconditionError) as caught:
        client.delete(job_id)
    assert caught.value.reason == "JOB_STATE"
    with pytest.raises(FailedPreconditionError):
        client.retry(job_id)
    assert client.delete(job_id, force=True, delete_outputs=True) > 0
    assert list((server.root / "deleted").iterdir()) == []
    with pytest.raises(NotFoundError):
        client.get(job_id)
    assert client.delete(job_id, allow_missing=True) == 0


def test_outputs_that_are_gone_already_do_not_count(
    client: Client, server: Served, film: str, out: Path
) -> None:
    output = Output(uri_template=f"{out}/{{index}}.mp4", video=QUICK)
    handle = client.submit(film, every(5), output)
    handle.result(timeout=90)
    (out / "0.mp4").unlink()
    assert handle.delete(delete_outputs=True) == 1
    assert list(out.iterdir()) == []


# --- Who is calling --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "root").mkdir()
    (folder / "root" / "clip.mp4").write_bytes(clip.read_bytes())
    with served(folder, tokens={"alice": ALICE, "bob": BOB}, workers=1) as made:
        yield made


@pytest.mark.parametrize("token", [None, "wrong-0123456789abcdef", ALICE[:-1], ALICE + "x"])
def test_without_a_known_token_nothing_is_answered(guarded: Served, token: str | None) -> None:
    with Client(guarded.address, token=token, retry=ONCE) as client:
        for call in (
            lambda: client.get("0" * 32),
            lambda: list(client.list()),
            lambda: list(client.watch("0" * 32)),
            lambda: client.submit("/x", shots()),
        ):
            with pytest.raises(UnauthenticatedError) as caught:
                call()
            assert caught.value.reason == "UNAUTHENTICATED"


def test_health_needs_no_token(guarded: Served) -> None:
    with grpc.insecure_channel(guarded.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=30).status == 1


def test_the_jobs_of_another_are_not_there(guarded: Served) -> None:
    film = str(guarded.root / "clip.mp4")
    with (
        Client(guarded.address, token=ALICE) as alice,
        Client(guarded.address, token=BOB) as bob,
    ):
        job = alice.submit(film, every(5), client_token="same")
        job.result(timeout=90)
        assert job.get().owner == "alice"
        theirs = bob.job(job.job_id)
        for call in (
            theirs.get,
            theirs.cancel,
            theirs.delete,
            theirs.retry,
            lambda: list(theirs.segments()),
            lambda: list(theirs.watch()),
        ):
            with pytest.raises(NotFoundError):
                call()
        assert theirs.delete(allow_missing=True) == 0
        assert list(bob.list()) == []
        assert bob.submit(film, every(6), client_token="same").job_id != job.job_id
        token = alice.list_page().watch_token
        with pytest.raises(InvalidRequestError):
            next(iter(bob.watch_jobs(resume_token=token)))
        assert job.get().state is JobState.SUCCEEDED


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, and certificates of a server and a client."""
    folder = tmp_path_factory.mktemp("authority")

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run(
        "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2"
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        run("x509", "-req", "-in", f"{name}.csr", *sign, "-extfile", "names", "-out", f"{name}.pem")
    return folder


def test_tls_with_a_token(tmp_path: Path, authority: Path) -> None:
    identity = {
        "tls_certificate": authority / "server.pem",
        "tls_key": authority / "server.key",
    }
    tls = TLS(root_certificates=(authority / "ca.pem").read_bytes())
    with served(tmp_path, tokens={"alice": ALICE}, workers=1, **identity) as made:
        with Client(made.address, token=ALICE, tls=tls) as client:
            assert list(client.list()) == []
        with (
            Client(made.address, tls=tls, retry=ONCE) as client,
            pytest.raises(UnauthenticatedError),
        ):
            list(client.list())
        with (
            Client(made.address, token=ALICE, retry=ONCE, timeout=30) as client,
            pytest.raises(UnavailableError),
        ):
            list(client.list())


def test_tls_with_certificates_of_clients(tmp_path: Path, authority: Path) -> None:
    identity = {
        "tls_certificate": authority / "server.pem",
        "tls_key": authority / "server.key",
        "tls_client_ca": authority / "ca.pem",
    }
    root = (authority / "ca.pem").read_bytes()
    own = TLS(
        root_certificates=root,
        client_certificate=(authority / "client.pem").read_bytes(),
        client_key=(authority / "client.key").read_bytes(),
    )
    with served(tmp_path, workers=1, **identity) as made:
        with Client(made.address, tls=own) as client:
            assert list(client.list()) == []
        with (
            Client(made.address, tls=TLS(root_certificates=root), retry=ONCE, timeout=30) as client,
            pytest.raises(UnavailableError),
        ):
            list(client.list())


# --- How many --------------------------------------------------------------------------------


@pytest.fixture
def narrow(tmp_path: Path, clip: Path) -> Iterator[Served]:
    """A server with room for little."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "clip.mp4").write_bytes(clip.read_bytes())
    limits = {"max_watches": 2, "max_streams": 3, "max_queued": 2, "max_ranges": 3}
    with served(tmp_path, workers=1, max_segments=4, max_pixels=320 * 180, **limits) as made:
        yield made


def test_watches_are_limited_apart_from_calls_and_given_back(narrow: Served) -> None:
    with Client(narrow.address, retry=ONCE) as client:
        open_watches = [client.watch_jobs() for _ in range(2)]
        for events in open_watches:
            next(iter(events))
        with pytest.raises(ResourceExhaustedError) as caught:
            next(iter(client.watch_jobs()))
        assert caught.value.reason == "TOO_MANY_WATCHES"
        assert caught.value.metadata == {"limit": "2"}
        assert caught.value.retry_after is not None
        assert list(client.list()) == []
        for events in open_watches:
            events.close()

        def free() -> bool:
            try:
                with client.watch_jobs() as events:
                    next(iter(events))
            except ResourceExhaustedError:
                return False
            return True

        wait_for(free)


def test_what_a_server_takes_is_limited(narrow: Served) -> None:
    film = str(narrow.root / "clip.mp4")
    with Client(narrow.address, retry=ONCE) as client:
        with pytest.raises(InvalidRequestError) as wide:
            client.submit(film, ranges(*((n, n + 1) for n in range(4))))
        assert [item.field for item in wide.value.violations] == ["spec.user_defined.ranges"]
        job = client.submit(film, every(1)).wait(timeout=90)
        assert job.error is not None
        assert (job.error.reason, job.error.metadata["limit"]) == ("TOO_MANY_SEGMENTS", "4")
        client.submit(film, every(5)).result(timeout=90)

        def flood() -> None:
            for number in range(20):
                _slow(client, narrow, f"queued{number}")

        with pytest.raises(ResourceExhaustedError) as caught:
            flood()
        assert caught.value.reason == "TOO_MANY_JOBS"


def test_calls_are_limited(tmp_path: Path) -> None:
    with served(tmp_path, workers=1, max_calls=1) as made, ThreadPoolExecutor(16) as pool:

        def call(_: int) -> str:
            with Client(made.address, retry=ONCE) as client:
                try:
                    client.list_page()
                except ResourceExhaustedError as error:
                    return error.reason
            return ""

        assert set(pool.map(call, range(16))) <= {"", "TOO_MANY_CALLS"}
        assert call(0) == ""


def test_a_request_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with (
        served(tmp_path, workers=1, max_message_bytes=2**16) as made,
        Client(made.address, retry=ONCE) as client,
        pytest.raises(ReelsplitError),
    ):
        client.submit("/x" * 2**17, every(1))


# --- The database ----------------------------------------------------------------------------


def test_a_database_that_cannot_be_used_is_told_without_its_details(tmp_path: Path) -> None:
    with served(tmp_path, workers=1) as made:
        with sqlite3.connect(made.data / "reelsplit.db") as connection:
            connection.execute("ALTER TABLE events RENAME TO gone")
            connection.execute("ALTER TABLE segments RENAME TO gone_too")
        connection.close()
        with Client(made.address, retry=ONCE) as client:
            film = str(made.root / "film.mp4")
            for call in (
                lambda: client.submit(film, every(1)),
                lambda: next(iter(client.watch_jobs())),
                client.list_page,
            ):
                with pytest.raises(UnavailableError) as caught:
                    call()
                assert caught.value.reason == "STORE_UNAVAILABLE"
                assert "events" not in str(caught.value)
