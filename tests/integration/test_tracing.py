"""One trace from the caller's span to what a worker does, also across a restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider

from reelsplit import (
    Client,
    JobState,
    NotFoundError,
    Output,
    SegmentState,
    VideoCodec,
    VideoEncoding,
    every,
    ranges,
)
from tests.clips import make_clip
from tests.collector import Collector, collecting, facts
from tests.server import ServerProcess, wait_for

QUICK = VideoEncoding(codec=VideoCodec.H264, preset="ultrafast")
SLOW = VideoEncoding(codec=VideoCodec.H264, preset="placebo", crf=1)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def tracer() -> trace.Tracer:
    trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    return trace.get_tracer("caller")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector
) -> Iterator[ServerProcess]:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=SECRET-OF-THE-COLLECTOR",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    flags = ("--workers", "2", "--grace", "0")
    made = ServerProcess(tmp_path_factory.mktemp("traced"), *flags, environment=environment)
    make_clip(made.root / "film.mp4", frames=240, size=(640, 360))
    with made:
        yield made


def _trace_id(span: trace.Span) -> str:
    return f"{span.get_span_context().trace_id:032x}"


def _below(spans: list[Span] | tuple[Span, ...], parent: Span) -> dict[str, Span]:
    return {span.name: span for span in spans if span.parent_span_id == parent.span_id}


def test_all_that_is_done_for_a_call_is_one_trace(
    server: ServerProcess, collector: Collector, tracer: trace.Tracer
) -> None:
    with tracer.start_as_current_span("mine") as mine, Client(server.address) as client:
        output = Output(uri_template=f"{server.root}/a/{{index}}.mp4", video=QUICK)
        handle = client.submit(f"{server.root}/film.mp4", every(5), output)
        assert handle.result(timeout=90).state is JobState.SUCCEEDED
    spans = list(collector.wait("job", "analyse", "render", trace_id=_trace_id(mine)))
    assert collector.services == {"reelsplit"}
    by_name = {span.name: span for span in spans}
    call = by_name["reelsplit.v1.JobService/SubmitJob"]
    assert call.kind == Span.SPAN_KIND_SERVER
    assert facts(call) == {
        "rpc.system.name": "grpc",
        "rpc.method": "reelsplit.v1.JobService/SubmitJob",
        "rpc.response.status_code": "OK",
    }
    job = by_name["job"]
    assert job.parent_span_id == call.span_id
    assert facts(job) | {"reelsplit.job.state": "SUCCEEDED", "reelsplit.job.segments": 2} == facts(
        job
    )
    assert facts(job)["reelsplit.job.id"] == handle.job_id
    assert _below(spans, job).keys() == {"wait", "analyse", "render"}
    analysis = _below(spans, job)["analyse"]
    assert _below(spans, analysis).keys() == {"open", "probe", "index", "report"}
    renders = [span for span in spans if span.name == "render"]
    assert sorted(facts(span)["reelsplit.segment.index"] for span in renders) == [0, 1]
    for render in renders:
        assert {"verify", "publish"} <= _below(spans, render).keys()
        assert facts(render)["reelsplit.unit.outcome"] == "done"
        for stage in _below(spans, render).values():
            assert render.start_time_unix_nano <= stage.start_time_unix_nano
            assert stage.start_time_unix_nano <= stage.end_time_unix_nano
            assert stage.end_time_unix_nano <= render.end_time_unix_nano
    assert any("encode" in _below(spans, render) for render in renders)


def test_a_restart_goes_on_with_the_trace(
    server: ServerProcess, collector: Collector, tracer: trace.Tracer
) -> None:
    with tracer.start_as_current_span("mine") as mine, Client(server.address) as client:
        output = Output(uri_template=f"{server.root}/b/{{index}}.mp4", video=SLOW)
        job_id = client.submit(f"{server.root}/film.mp4", ranges((0, 10)), output).job_id
    wait_for(
        lambda: (
            "reelsplit.v1.JobService/SubmitJob"
            in {span.name for span in collector.spans(_trace_id(mine))}
        )
    )
    server.kill()
    server.start()
    with Client(server.address) as client:
        segments = client.job(job_id).segments
        wait_for(lambda: SegmentState.RUNNING in {segment.state for segment in segments()})
        client.cancel(job_id)
    spans = list(collector.wait("job", "render", trace_id=_trace_id(mine)))
    by_name = {span.name: span for span in spans}
    assert by_name["job"].parent_span_id == by_name["reelsplit.v1.JobService/SubmitJob"].span_id
    assert by_name["render"].parent_span_id == by_name["job"].span_id
    assert facts(by_name["render"])["reelsplit.unit.outcome"] == "stopped"


def test_what_fails_says_why(
    server: ServerProcess, collector: Collector, tracer: trace.Tracer
) -> None:
    with tracer.start_as_current_span("mine") as mine, Client(server.address) as client:
        with pytest.raises(NotFoundError):
            client.get("0" * 32)
        handle = client.submit(f"{server.root}/none.mp4", ranges((0, 1)))
        assert handle.wait(timeout=90).state is JobState.FAILED
    spans = list(collector.wait("job", "analyse", trace_id=_trace_id(mine)))
    by_name = {span.name: span for span in spans}
    get = min(
        (span for span in spans if span.name.endswith("/GetJob")),
        key=lambda span: span.start_time_unix_nano,
    )
    # A caller's mistake is no fault of the server.
    assert facts(get)["rpc.response.status_code"] == "NOT_FOUND"
    assert get.status.code == Status.STATUS_CODE_UNSET
    for name in ("analyse", "job"):
        assert by_name[name].status.code == Status.STATUS_CODE_ERROR
        assert facts(by_name[name])["error.type"] == "SOURCE_NOT_FOUND"


def test_log_lines_carry_the_ids(
    server: ServerProcess, collector: Collector, tracer: trace.Tracer
) -> None:
    with tracer.start_as_current_span("mine") as mine, Client(server.address) as client:
        output = Output(uri_template=f"{server.root}/c/{{index}}.mp4", video=QUICK)
        handle = client.submit(f"{server.root}/film.mp4", ranges((0, 1)), output)
        handle.result(timeout=90)
    ours = [line for line in server.lines if line.get("job_id") == handle.job_id]
    assert [line["event"] for line in ours] == [
        "job_submitted",
        "job_running",
        "unit_done",
        "unit_done",
        "job_ended",
    ]
    assert {line["trace_id"] for line in ours} == {_trace_id(mine)}
    assert ours[3]["segment"] == 0
    spans = {s.span_id.hex(): s.name for s in collector.wait("job", trace_id=_trace_id(mine))}
    named = [spans[line["span_id"]] for line in ours]
    assert named == ["reelsplit.v1.JobService/SubmitJob", "job", "analyse", "render", "job"]
    assert "SECRET-OF-THE-COLLECTOR" not in server.log


def test_calls_of_programs_that_trace_nothing_begin_a_trace_here(
    server: ServerProcess, collector: Collector
) -> None:
    before = {span.trace_id for span in collector.spans()}
    with Client(server.address) as client:
        handle = client.submit(f"{server.root}/film.mp4", ranges((0, 1)))
        handle.result(timeout=90)
    wait_for(
        lambda: any(
            s.name == "job" and facts(s)["reelsplit.job.id"] == handle.job_id
            for s in collector.spans()
        )
    )
    (job,) = [
        s
        for s in collector.spans()
        if s.name == "job" and facts(s)["reelsplit.job.id"] == handle.job_id
    ]
    assert job.trace_id not in before
