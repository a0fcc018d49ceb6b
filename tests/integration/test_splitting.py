"""The whole job on a running server, with the frames read back from what it published."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from itertools import chain
from pathlib import Path

import pytest

from reelsplit import (
    Client,
    CutMode,
    Input,
    Job,
    JobState,
    Output,
    OverwritePolicy,
    SegmentState,
    VideoCodec,
    VideoEncoding,
    every,
    ranges,
    shots,
)
from tests.clips import make_clip, read_numbers
from tests.server import Served

QUICK = VideoEncoding(codec=VideoCodec.H264, preset="ultrafast")


def _ended(client: Client, job_id: str) -> Job:
    return client.wait(job_id, timeout=90)


def _frames(out: Path, ending: str = "mp4") -> dict[str, list[int]]:
    return {path.stem: read_numbers(path) for path in sorted(out.glob(f"*.{ending}"))}


def _span(start: int, end: int) -> list[int]:
    return list(range(start, end))


def test_ranges_in_any_order_with_overlaps(client: Client, film: str, out: Path) -> None:
    mode = ranges((5, 6), (0, 1), (0.5, 1.5), (0, 1))
    handle = client.submit(film, mode, Output(uri_template=f"{out}/{{index}}.mp4", video=QUICK))
    job = handle.result(timeout=90)
    assert (job.state, job.progress.percent if job.progress else 0) == (JobState.SUCCEEDED, 100)
    assert _frames(out) == {
        "0": _span(120, 144),
        "1": _span(0, 24),
        "2": _span(12, 36),
        "3": _span(0, 24),
    }


def test_what_a_published_segment_tells_is_so(client: Client, film: str, out: Path) -> None:
    template = f"{out}/{{stem}}-{{index:03d}}-{{start}}-{{end}}.mkv"
    handle = client.submit(film, ranges((1, 2.5)), Output(uri_template=template, video=QUICK))
    handle.result(timeout=90)
    (segment,) = handle.segments()
    path = out / "clip-000-1.000-2.500.mkv"
    assert (segment.uri, segment.state) == (str(path), SegmentState.PUBLISHED)
    assert segment.size_bytes == path.stat().st_size
    assert segment.checksum == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert (segment.frame_count, segment.attempt) == (36, 1)
    assert segment.bounds is not None
    assert (segment.bounds.start_frame, segment.bounds.end_frame) == (24, 60)
    assert (segment.bounds.start_offset, segment.bounds.end_offset) == (1, Fraction(5, 2))
    assert segment.cut is not None
    assert (segment.cut.mode, segment.cut.encoded_frames) == (CutMode.ENCODE, 36)
    assert len(segment.streams) == 2


def test_equal_pieces_hold_every_frame_once(client: Client, film: str, out: Path) -> None:
    output = Output(uri_template=f"{out}/{{index:02d}}.mp4", video=QUICK)
    client.submit(film, every(3), output).result(timeout=90)
    frames = _frames(out)
    assert [len(piece) for piece in frames.values()] == [72, 72, 72, 24]
    assert list(chain(*frames.values())) == _span(0, 240)


def test_shots_are_found_and_cut(client: Client, film: str, out: Path) -> None:
    output = Output(uri_template=f"{out}/{{index}}.mp4", video=QUICK)
    job = client.submit(film, shots(), output).result(timeout=90)
    assert _frames(out) == {"0": _span(0, 72), "1": _span(72, 168), "2": _span(168, 240)}
    assert job.source is not None
    assert job.source.frame_count == 240


def test_without_an_output_shots_are_only_found(client: Client, film: str) -> None:
    handle = client.submit(film, shots())
    assert handle.result(timeout=90).state is JobState.SUCCEEDED
    found = [(s.bounds.start_frame, s.bounds.end_frame) for s in handle.segments() if s.bounds]
    assert found == [(0, 72), (72, 168), (168, 240)]
    assert {segment.state for segment in handle.segments()} == {SegmentState.PLANNED}


def test_key_frame_cuts_copy_and_tell_their_real_bounds(
    client: Client, film: str, out: Path
) -> None:
    output = Output(uri_template=f"{out}/{{index}}.mp4", cut_mode=CutMode.KEYFRAME)
    handle = client.submit(film, ranges((1.25, 2)), output)
    handle.result(timeout=90)
    (segment,) = handle.segments()
    assert segment.cut is not None
    assert (segment.cut.mode, segment.cut.encoded_frames) == (CutMode.KEYFRAME, 0)
    assert segment.bounds is not None
    assert segment.bounds.start_offset == 1
    assert read_numbers(out / "0.mp4")[0] == 24


def test_a_name_with_every_kind_of_character_works_as_a_path_and_as_a_uri(
    client: Client, server: Served, clip: Path, out: Path
) -> None:
    strange = server.root / "100%2f? #{index} ä.mp4"
    strange.write_bytes(clip.read_bytes())
    output = Output(uri_template=f"file://{out}/{{stem}}-{{index}}.mp4", video=QUICK)
    handle = client.submit(str(strange), ranges((0, 0.5)), output)
    handle.result(timeout=90)
    assert [path.name for path in out.iterdir()] == ["100%2f? #{index} ä-0.mp4"]


# --- Ranges at and past the end --------------------------------------------------------------


def test_ranges_past_the_end_are_clipped_or_fail_alone(
    client: Client, film: str, out: Path
) -> None:
    mode = ranges((9, 10), (9.5, 20), (10, 11), (50, 60), (0, 0.25))
    handle = client.submit(film, mode, Output(uri_template=f"{out}/{{index}}.mp4", video=QUICK))
    job = _ended(client, handle.job_id)
    assert job.error is not None
    assert (job.state, job.error.reason) == (JobState.FAILED, "SEGMENTS_FAILED")
    assert job.error.metadata == {"failed": "2", "total": "5", "indexes": "2,3"}
    segments = list(handle.segments())
    assert [s.error.reason if s.error else None for s in segments] == [
        None,
        None,
        "RANGE_OUTSIDE_SOURCE",
        "RANGE_OUTSIDE_SOURCE",
        None,
    ]
    notices = [[notice.code for notice in s.notices] for s in segments]
    assert notices == [[], ["RANGE_CLIPPED"], [], [], []]
    assert _frames(out) == {"0": _span(216, 240), "1": _span(228, 240), "4": _span(0, 6)}


def test_strict_ranges_fail_where_others_are_clipped_also_when_retried(
    client: Client, film: str, out: Path
) -> None:
    mode = ranges((9.5, 20), (0, 0.25), strict=True)
    handle = client.submit(film, mode, Output(uri_template=f"{out}/{{index}}.mp4", video=QUICK))
    assert _ended(client, handle.job_id).state is JobState.FAILED
    handle.retry()
    assert _ended(client, handle.job_id).state is JobState.FAILED
    first, second = handle.segments()
    assert first.error is not None
    assert (first.error.reason, second.state) == ("RANGE_OVERLAPS_END", SegmentState.PUBLISHED)
    assert sorted(_frames(out)) == ["1"]


# --- Sources that cannot be split ------------------------------------------------------------


def _source(folder: Path, kind: str, clip: Path) -> Path:
    path = folder / f"{kind}.mp4"
    match kind:
        case "missing":
            pass
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("This is no video at all.\n" * 100)
        case "playlist":
            path = folder / "list.m3u8"
            path.write_text("#EXTM3U\n#EXTINF:10,\nclip.mp4\n#EXT-X-ENDLIST\n")
        case "disguised":
            path.write_text("#EXTM3U\n#EXTINF:10,\nclip.mp4\n#EXT-X-ENDLIST\n")
        case "concat":
            path = folder / "list.ffconcat"
            path.write_text("ffconcat version 1.0\nfile clip.mp4\n")
        case "audio":
            path = folder / "audio.m4a"
            _only_sound(path)
        case "truncated":
            data = clip.read_bytes()
            path.write_bytes(data[: len(data) // 3])
        case "folder":
            path.mkdir(exist_ok=True)
        case "outside":
            path.unlink(missing_ok=True)
            path.symlink_to(clip)
    return path


def _only_sound(path: Path) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 48_000), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("missing", {"SOURCE_NOT_FOUND"}),
        ("empty", {"SOURCE_UNREADABLE"}),
        ("text", {"SOURCE_UNREADABLE", "SOURCE_FORMAT_REFUSED"}),
        ("playlist", {"SOURCE_FORMAT_REFUSED"}),
        ("disguised", {"SOURCE_FORMAT_REFUSED"}),
        ("concat", {"SOURCE_FORMAT_REFUSED"}),
        ("audio", {"SOURCE_NO_VIDEO"}),
        ("truncated", {"SOURCE_UNREADABLE"}),
        ("folder", {"SOURCE_UNREADABLE"}),
        ("outside", {"SOURCE_FORBIDDEN"}),
    ],
)
@pytest.mark.parametrize("mode", [every(1), shots()], ids=["every", "shots"])
def test_a_source_that_is_no_video_fails_with_the_reason(
    client: Client, server: Served, clip: Path, kind: str, reasons: set[str], mode: object
) -> None:
    source = _source(server.root, kind, clip)
    job = _ended(client, client.submit(str(source), mode, None).job_id)  # type: ignore[arg-type]
    assert job.error is not None
    assert job.state is JobState.FAILED
    assert job.error.reason in reasons
    assert job.error.message.endswith(".")
    assert job.progress is not None
    assert job.progress.percent < 100


# --- What lies there already -----------------------------------------------------------------


def test_what_lies_there_is_kept_and_a_retry_makes_what_failed(
    client: Client, film: str, out: Path
) -> None:
    out.mkdir(parents=True)
    (out / "1.mp4").write_text("mine")
    output = Output(uri_template=f"{out}/{{index}}.mp4", video=QUICK)
    handle = client.submit(film, ranges((0, 0.5), (1, 1.5)), output)
    job = _ended(client, handle.job_id)
    assert job.error is not None
    assert job.error.metadata["indexes"] == "1"
    failed = list(handle.segments(states=[SegmentState.FAILED]))
    assert [s.error.reason for s in failed if s.error] == ["OUTPUT_EXISTS"]
    assert (out / "1.mp4").read_text() == "mine"
    before = (out / "0.mp4").stat().st_mtime_ns
    (out / "1.mp4").unlink()
    assert handle.retry().attempt == 2
    assert _ended(client, handle.job_id).state is JobState.SUCCEEDED
    assert _frames(out) == {"0": _span(0, 12), "1": _span(24, 36)}
    assert (out / "0.mp4").stat().st_mtime_ns == before


def test_what_lies_there_is_replaced_when_asked_for(client: Client, film: str, out: Path) -> None:
    out.mkdir(parents=True)
    (out / "0.mp4").write_text("old")
    output = Output(
        uri_template=f"{out}/{{index}}.mp4",
        video=QUICK,
        overwrite_policy=OverwritePolicy.REPLACE,
    )
    client.submit(Input(uri=film), ranges((0, 0.5)), output).result(timeout=90)
    assert _frames(out) == {"0": _span(0, 12)}
    assert [path.name for path in out.iterdir()] == ["0.mp4"]


def test_no_working_file_is_left(client: Client, server: Served, film: str, out: Path) -> None:
    output = Output(uri_template=f"{out}/{{index}}.mp4", video=QUICK)
    client.submit(film, every(5), output).result(timeout=90)
    left = [path for path in (server.data / "scratch").rglob("*") if path.is_file()]
    assert left == []


def test_a_variable_rate_source_is_split_by_time(client: Client, server: Served, out: Path) -> None:
    source = server.root / "variable.mkv"
    times = [n * 40 + (n // 10) * 500 for n in range(40)]
    make_clip(source, frames=40, rate=25, times=times, time_base=Fraction(1, 1000))
    output = Output(uri_template=f"{out}/{{index}}.mkv", video=QUICK)
    client.submit(str(source), every(1), output).result(timeout=90)
    expected: dict[str, list[int]] = {}
    for number, time in enumerate(times):
        expected.setdefault(str(time // 1000), []).append(number)
    assert list(_frames(out, "mkv").values()) == list(expected.values())
