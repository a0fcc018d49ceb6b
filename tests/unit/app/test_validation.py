"""What is wrong with a spec is said at once, field by field, before the source is opened."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from reelsplit import (
    AdaptiveDetector,
    AudioCodec,
    AudioEncoding,
    ContentDetector,
    ContentWeights,
    CropRegion,
    CutMode,
    Effort,
    FixedInterval,
    Footage,
    HashDetector,
    HistogramDetector,
    Input,
    JobSpec,
    LongShotPolicy,
    OverwritePolicy,
    ReelsplitDetector,
    ShotDetection,
    ThresholdDetector,
    TransitionPolicy,
    UserDefined,
    VideoCodec,
    VideoEncoding,
)
from reelsplit_server.access.reach import Reach
from reelsplit_server.app.errors import OUT_OF_REACH, invalid
from reelsplit_server.app.validation import Checker
from reelsplit_server.storage.routes import Routes
from tests.unit.app.specs import BOUNDS, fields, output, span, spec, violations

S = "spec.shot_detection"
V = "spec.output.video"


def _ranges(*ranges: tuple[object, object]) -> JobSpec:
    return spec(mode=UserDefined(ranges=[span(*bounds) for bounds in ranges]))


def _shots(**values: object) -> JobSpec:
    return spec(mode=ShotDetection(**values))  # type: ignore[arg-type]


def _video(**values: object) -> JobSpec:
    return output(video=VideoEncoding(**values))  # type: ignore[arg-type]


def _audio(**values: object) -> JobSpec:
    return output(audio=AudioEncoding(**values))  # type: ignore[arg-type]


def _crop(**values: int) -> CropRegion:
    return CropRegion(**{"x": 0, "y": 0, "width": 16, "height": 16, **values})


def _uri(uri: str | None) -> JobSpec:
    return spec(input=Input(uri=uri))


def _template(text: str) -> JobSpec:
    return output(uri_template=text)


RIGHT = [
    spec(),
    _uri("file:///v/film.mp4"),
    _ranges((0, 1)),
    _ranges((5, 6), (0, 10), (0, 10)),
    _ranges(*((n, n + 1) for n in range(10))),
    spec(mode=FixedInterval(interval=Fraction(1, 10))),
    _shots(),
    _shots(detector=AdaptiveDetector(threshold=2, kernel_size=5)),
    _shots(detector=AdaptiveDetector(), transition_policy=TransitionPolicy.MIDDLE),
    _shots(detector=ReelsplitDetector(effort=Effort.EXACT, sensitivity=1, footage=Footage.WEB)),
    _shots(detector=ReelsplitDetector(effort=Effort.FAST)),
    *(_shots(transition_policy=policy, skip_letterbox=True) for policy in TransitionPolicy),
    _shots(detector=ContentDetector(weights=ContentWeights(edges=1))),
    _shots(detector=HashDetector(size=8)),
    _shots(min_shot_duration=1, max_shot_duration=1, long_shot_policy=LongShotPolicy.LEAVE),
    _shots(start_offset=5, end_offset=6, downscale=4, crop=_crop()),
    output(),
    output(width=640),
    output(cut_mode=CutMode.KEYFRAME, audio=AudioEncoding(codec=AudioCodec.NONE)),
    output(cut_mode=CutMode.EDIT_LIST, uri_template="/w/{index}.mov"),
    output(overwrite_policy=OverwritePolicy.REPLACE),
    *(_template(f"/v/out/{{index}}.{end}") for end in ("mp4", "m4v", "mov", "mkv", "webm", "ts")),
    _video(codec=VideoCodec.H264, crf=18, preset="fast", gop=48, profile="high", level="4.1"),
    _video(bit_rate=10**6, max_bit_rate=2 * 10**6, buffer_size=10**6),
    _video(frame_rate=Fraction(30000, 1001)),
    _audio(codec=AudioCodec.AAC, bit_rate=128_000, sample_rate=48_000, channels=2),
    *(
        _uri(uri)
        for uri in (
            "s3://videos/a/b?c#d.mp4",
            "oss://films/a.mp4",
            "oss://films.oss-cn-shanghai.example.com/a.mp4",
            "https://films.oss-cn-shanghai.example.com/a%20b.mp4",
            "oss://old/a.mp4",
            "oss://old.oss-elsewhere.example.com/a.mp4",
            "http://cdn.example.com/a.mp4?signature=x",
            "https://a.open.example.com/a.mp4",
        )
    ),
    spec(input=Input(uri="s3://videos/a.mp4", endpoint="https://s3.local")),
    _template("s3://out-1/{stem}/{index}.mp4"),
    output(uri_template="oss://films/{index}.mp4", endpoint="oss-cn-shanghai.example.com"),
    spec(user_data='{"a": [1, "ä"]}', labels={"a": "", "b.c_d-1": "x" * 128}),
    spec(priority=-100, timeout=1, segment_timeout=1, time_to_live=86400, fail_fast=True),
]


@pytest.mark.parametrize("wanted", RIGHT, ids=range(len(RIGHT)))
def test_what_is_right_passes(wanted: JobSpec) -> None:
    assert violations(wanted) == ()


WRONG: list[tuple[JobSpec, str]] = [
    # The input.
    (spec(input=None), "spec.input"),
    (_uri(None), "spec.input"),
    (_uri(""), "spec.input.uri"),
    (_uri("film.mp4"), "spec.input.uri"),
    (_uri("/etc/passwd"), "spec.input.uri"),
    (_uri("/v/../etc/passwd"), "spec.input.uri"),
    (_uri("/vv/film.mp4"), "spec.input.uri"),
    (_uri("file:///v/%2e%2e/x"), "spec.input.uri"),
    (_uri("file://[/x"), "spec.input.uri"),
    (_uri("s3://other/a.mp4"), "spec.input.uri"),
    (_uri("s3://videos"), "spec.input.uri"),
    (_uri("s3://videos/"), "spec.input.uri"),
    (_uri("s3://videos/a/../b.mp4"), "spec.input.uri"),
    (_uri("gs://videos/a.mp4"), "spec.input.uri"),
    (_uri("oss://films.oss-elsewhere.example.com/a.mp4"), "spec.input.uri"),
    (_uri("https://other.example.com/a.mp4"), "spec.input.uri"),
    (_uri("https://cdn.example.com:8443/a.mp4"), "spec.input.uri"),
    (_uri("https://user:secret@cdn.example.com/a.mp4"), "spec.input.uri"),
    (spec(input=Input(uri="/v/a.mp4", endpoint="http://x")), "spec.input.endpoint"),
    (spec(input=Input(uri="s3://videos/a.mp4", endpoint="evil.com")), "spec.input.endpoint"),
    (output(endpoint="http://x"), "spec.output.endpoint"),
    (_template("s3://other/{index}.mp4"), "spec.output.uri_template"),
    (_template("s3://out-{index}/a.mp4"), "spec.output.uri_template"),
    (_template("https://cdn.example.com/{index}.mp4"), "spec.output.uri_template"),
    (_uri("ftp://host/x"), "spec.input.uri"),
    (_uri("concat:/v/a.mp4"), "spec.input.uri"),
    # The mode.
    (spec(mode=None), "spec.mode"),
    (_ranges(), "spec.user_defined.ranges"),
    (_ranges(*((n, n + 1) for n in range(11))), "spec.user_defined.ranges"),
    (_ranges((None, 1)), "spec.user_defined.ranges[0].start_offset"),
    (_ranges((0, None)), "spec.user_defined.ranges[0].end_offset"),
    (_ranges((-1, 1)), "spec.user_defined.ranges[0].start_offset"),
    (_ranges((0, 1), (2, 2)), "spec.user_defined.ranges[1].end_offset"),
    (_ranges((0, 1), (3, 2)), "spec.user_defined.ranges[1].end_offset"),
    (_ranges((0, 10**10)), "spec.user_defined.ranges[0].end_offset"),
    (spec(mode=FixedInterval(interval=None)), "spec.fixed_interval.interval"),
    (spec(mode=FixedInterval(interval=0)), "spec.fixed_interval.interval"),
    (spec(mode=FixedInterval(interval=-5)), "spec.fixed_interval.interval"),
    (spec(mode=FixedInterval(interval=0.099)), "spec.fixed_interval.interval"),
    (spec(mode=FixedInterval(interval=10**10)), "spec.fixed_interval.interval"),
    # Detection.
    (_shots(min_shot_duration=-1), f"{S}.min_shot_duration"),
    (_shots(max_shot_duration=0), f"{S}.max_shot_duration"),
    (_shots(min_shot_duration=5, max_shot_duration=4), f"{S}.max_shot_duration"),
    (_shots(long_shot_policy=LongShotPolicy.SPLIT), f"{S}.long_shot_policy"),
    (_shots(downscale=0), f"{S}.downscale"),
    (_shots(downscale=65), f"{S}.downscale"),
    (_shots(crop=_crop(x=-1)), f"{S}.crop.x"),
    (_shots(crop=_crop(width=15)), f"{S}.crop.width"),
    (_shots(crop=_crop(height=0)), f"{S}.crop.height"),
    (_shots(start_offset=-1), f"{S}.start_offset"),
    (_shots(start_offset=5, end_offset=5), f"{S}.end_offset"),
    (_shots(end_offset=0), f"{S}.end_offset"),
    (_shots(start_offset=2**63), f"{S}.start_offset"),
    (_shots(end_offset=2**63), f"{S}.end_offset"),
    (_shots(detector=ReelsplitDetector(sensitivity=1.1)), f"{S}.reelsplit.sensitivity"),
    (_shots(detector=ReelsplitDetector(sensitivity=-0.1)), f"{S}.reelsplit.sensitivity"),
    (_shots(detector=AdaptiveDetector(threshold=-1)), f"{S}.adaptive.threshold"),
    (_shots(detector=AdaptiveDetector(threshold=float("nan"))), f"{S}.adaptive.threshold"),
    (_shots(detector=AdaptiveDetector(window_width=0)), f"{S}.adaptive.window_width"),
    (_shots(detector=AdaptiveDetector(min_content_value=256)), f"{S}.adaptive.min_content_value"),
    (_shots(detector=AdaptiveDetector(kernel_size=4)), f"{S}.adaptive.kernel_size"),
    (_shots(detector=ContentDetector(threshold=float("inf"))), f"{S}.content.threshold"),
    (_shots(detector=ContentDetector(kernel_size=1)), f"{S}.content.kernel_size"),
    (
        _shots(detector=ContentDetector(weights=ContentWeights(hue=-1))),
        f"{S}.content.weights.hue",
    ),
    (
        _shots(detector=ContentDetector(weights=ContentWeights(hue=0, saturation=0, luma=0))),
        f"{S}.content.weights",
    ),
    (_shots(detector=ThresholdDetector(threshold=256)), f"{S}.threshold.threshold"),
    (_shots(detector=ThresholdDetector(fade_bias=1.5)), f"{S}.threshold.fade_bias"),
    (_shots(detector=HashDetector(threshold=1.5)), f"{S}.hash.threshold"),
    (_shots(detector=HashDetector(size=1)), f"{S}.hash.size"),
    (_shots(detector=HashDetector(lowpass=0)), f"{S}.hash.lowpass"),
    (_shots(detector=HistogramDetector(threshold=-0.1)), f"{S}.histogram.threshold"),
    (_shots(detector=HistogramDetector(bins=257)), f"{S}.histogram.bins"),
    # The output.
    (_template(""), "spec.output.uri_template"),
    (_template("/w/film.mp4"), "spec.output.uri_template"),
    (_template("/w/{index}"), "spec.output.uri_template"),
    (_template("/w/{index}.avi"), "spec.output.uri_template"),
    (_template("/w/{index}.mp4/x"), "spec.output.uri_template"),
    (_template("/w/{index:>9}.mp4"), "spec.output.uri_template"),
    (_template("/w/{index.real}.mp4"), "spec.output.uri_template"),
    (_template("out/{index}.mp4"), "spec.output.uri_template"),
    (_template("/tmp/{index}.mp4"), "spec.output.uri_template"),
    (_template("/w/../etc/{index}.mp4"), "spec.output.uri_template"),
    (_template("/w/" + "a" * 200 + "{index}.mp4"), "spec.output.uri_template"),
    (_template("/w/{index}\0.mp4"), "spec.output.uri_template"),
    (output(width=15), "spec.output.width"),
    (output(width=641), "spec.output.width"),
    (output(height=16386), "spec.output.height"),
    (output(height=-2), "spec.output.height"),
    (output(cut_mode=CutMode.KEYFRAME, width=640), "spec.output.cut_mode"),
    (output(cut_mode=CutMode.EDIT_LIST, width=640), "spec.output.cut_mode"),
    (
        output(cut_mode=CutMode.EDIT_LIST, uri_template="/w/{index}.mkv"),
        "spec.output.cut_mode",
    ),
    (
        output(cut_mode=CutMode.KEYFRAME, video=VideoEncoding(crf=20)),
        "spec.output.cut_mode",
    ),
    (_video(codec=VideoCodec.H264, crf=52), f"{V}.crf"),
    (_video(crf=64), f"{V}.crf"),
    (_video(crf=-1), f"{V}.crf"),
    (_video(crf=20, bit_rate=10**6), f"{V}.crf"),
    (_video(bit_rate=999), f"{V}.bit_rate"),
    (_video(max_bit_rate=10**6), f"{V}.max_bit_rate"),
    (_video(buffer_size=10**6), f"{V}.max_bit_rate"),
    (_video(bit_rate=2 * 10**6, max_bit_rate=10**6, buffer_size=10**6), f"{V}.max_bit_rate"),
    (_video(codec=VideoCodec.H264, preset="warp"), f"{V}.preset"),
    (_video(preset="warp"), f"{V}.preset"),
    (_video(codec=VideoCodec.AV1, preset="fast"), f"{V}.preset"),
    (_video(codec=VideoCodec.H264, profile="main10"), f"{V}.profile"),
    (_video(codec=VideoCodec.H264, level="99"), f"{V}.level"),
    (_video(pixel_format="rgb48"), f"{V}.pixel_format"),
    (
        _video(codec=VideoCodec.H264, profile="main", pixel_format="yuv444p"),
        f"{V}.profile",
    ),
    (_video(gop=0), f"{V}.gop"),
    (_video(gop=10_001), f"{V}.gop"),
    (_video(frame_rate=Fraction(0)), f"{V}.frame_rate"),
    (_video(frame_rate=Fraction(-25)), f"{V}.frame_rate"),
    (_video(frame_rate=Fraction(241)), f"{V}.frame_rate"),
    (
        output(uri_template="/w/{index}.webm", video=VideoEncoding(codec=VideoCodec.H264)),
        f"{V}.codec",
    ),
    (
        output(uri_template="/w/{index}.ts", video=VideoEncoding(codec=VideoCodec.VP9)),
        f"{V}.codec",
    ),
    (
        output(uri_template="/w/{index}.webm", audio=AudioEncoding(codec=AudioCodec.AAC)),
        "spec.output.audio.codec",
    ),
    (_audio(bit_rate=128_000), "spec.output.audio.bit_rate"),
    (_audio(codec=AudioCodec.COPY, channels=2), "spec.output.audio.channels"),
    (_audio(codec=AudioCodec.NONE, sample_rate=48_000), "spec.output.audio.sample_rate"),
    (_audio(codec=AudioCodec.AAC, bit_rate=7_999), "spec.output.audio.bit_rate"),
    (_audio(codec=AudioCodec.OPUS, sample_rate=44_100), "spec.output.audio.sample_rate"),
    (_audio(codec=AudioCodec.AAC, channels=9), "spec.output.audio.channels"),
    (_audio(codec=AudioCodec.AAC, channels=0), "spec.output.audio.channels"),
    # The rest.
    (spec(user_data="not json"), "spec.user_data"),
    (spec(user_data=""), "spec.user_data"),
    (spec(user_data="NaN"), "spec.user_data"),
    (spec(user_data='{"a": Infinity}'), "spec.user_data"),
    (spec(user_data="[" * 512), "spec.user_data"),
    (spec(user_data='"' + "x" * 511 + '"'), "spec.user_data"),
    (spec(user_data='"' + "ä" * 256 + '"'), "spec.user_data"),
    (spec(labels={f"k{n}": "" for n in range(65)}), "spec.labels"),
    (spec(labels={"": "x"}), "spec.labels['']"),
    (spec(labels={"Upper": "x"}), "spec.labels['Upper']"),
    (spec(labels={"1st": "x"}), "spec.labels['1st']"),
    (spec(labels={"a\n": "x"}), "spec.labels['a\\n']"),
    (spec(labels={"a" * 64: "x"}), f"spec.labels['{'a' * 64}']"),
    (spec(labels={"a": "x" * 129}), "spec.labels['a']"),
    (spec(priority=101), "spec.priority"),
    (spec(priority=-101), "spec.priority"),
    (spec(timeout=0), "spec.timeout"),
    (spec(timeout=-1), "spec.timeout"),
    (spec(timeout=31 * 86400), "spec.timeout"),
    (spec(segment_timeout=0), "spec.segment_timeout"),
    (spec(time_to_live=0), "spec.time_to_live"),
    (spec(time_to_live=400 * 86400), "spec.time_to_live"),
]


@pytest.mark.parametrize(
    ("wanted", "field"), WRONG, ids=[f"{n}-{f}" for n, (_, f) in enumerate(WRONG)]
)
def test_what_is_wrong_is_named_by_its_field(wanted: JobSpec, field: str) -> None:
    found = violations(wanted)
    assert {violation.field for violation in found} == {field}
    for violation in found:
        assert violation.reason == "INVALID_FIELD"
        assert violation.description
        assert not violation.description.endswith(".")


UNSUPPORTED: list[tuple[JobSpec, str]] = [
    (_shots(detector=ContentDetector(), skip_letterbox=True), f"{S}.skip_letterbox"),
    (
        _shots(detector=HashDetector(), transition_policy=TransitionPolicy.DROP),
        f"{S}.transition_policy",
    ),
    (
        _shots(detector=AdaptiveDetector(), transition_policy=TransitionPolicy.START),
        f"{S}.transition_policy",
    ),
]


@pytest.mark.parametrize(
    ("wanted", "field"), UNSUPPORTED, ids=[f"{n}-{f}" for n, (_, f) in enumerate(UNSUPPORTED)]
)
def test_what_is_not_supported_yet_is_refused_by_name(wanted: JobSpec, field: str) -> None:
    found = violations(wanted)
    assert [(violation.field, violation.reason) for violation in found] == [
        (field, "NOT_SUPPORTED")
    ]
    error = invalid(found)
    assert (error.reason, error.metadata) == ("NOT_SUPPORTED", {"feature": field})


def test_everything_that_is_wrong_is_named_at_once() -> None:
    wanted = JobSpec(
        input=Input(uri="film.mp4"),
        mode=UserDefined(ranges=[span(-1, 2), span(4, 3), span(0, 1)]),
        output=output(
            uri_template="/w/x.mp4",
            width=7,
            video=VideoEncoding(codec=VideoCodec.H264, crf=99, gop=0),
        ).output,
        user_data="{",
        labels={"A": "b"},
        priority=1000,
    )
    assert fields(wanted) == {
        "spec.input.uri",
        "spec.user_defined.ranges[0].start_offset",
        "spec.user_defined.ranges[1].end_offset",
        "spec.output.uri_template",
        "spec.output.width",
        "spec.output.video.crf",
        "spec.output.video.gop",
        "spec.user_data",
        "spec.labels['A']",
        "spec.priority",
    }


def test_what_is_wrong_counts_more_than_what_is_not_supported() -> None:
    mode = ShotDetection(detector=ContentDetector(), skip_letterbox=True)
    found = violations(spec(mode=mode, priority=1000))
    assert invalid(found).reason == "INVALID_FIELD"
    assert {violation.reason for violation in found} == {"INVALID_FIELD", "NOT_SUPPORTED"}


def test_without_roots_no_local_path_is_taken() -> None:

    checker = Checker(replace(BOUNDS, routes=Routes()))
    checker.spec(output())
    found = {violation.field: violation.description for violation in checker.violations}
    assert set(found) == {"spec.input.uri", "spec.output.uri_template"}
    assert all("--root" in text for text in found.values())


def test_a_source_whose_name_makes_a_wrong_output_is_refused_at_once() -> None:
    """The stem is known, so what the template makes of it is too."""
    wanted = JobSpec(
        input=Input(uri="/v/...mp4"),
        mode=FixedInterval(interval=1),
        output=output(uri_template="/w/{stem}/{index}.mp4").output,
    )
    assert fields(wanted) == {"spec.output.uri_template"}


@pytest.mark.parametrize("token", ["", "a", "x" * 64, "!~", "550e8400-e29b-41d4-a716-446655440000"])
def test_client_tokens_are_short_and_printable(token: str) -> None:
    checker = Checker(BOUNDS)
    checker.client_token("client_token", token)
    assert checker.violations == []


@pytest.mark.parametrize("token", ["x" * 65, "a b", "ä", "a\n", "\x7f", " "])
def test_other_client_tokens_are_refused(token: str) -> None:
    checker = Checker(BOUNDS)
    checker.client_token("client_token", token)
    assert [violation.field for violation in checker.violations] == ["client_token"]


# --- Callbacks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/done",
        "http://hooks.example.com",
        "https://a.open.example.com/x?token=1",
    ],
)
def test_an_address_of_an_allowed_host_may_be_told(url: str) -> None:
    assert violations(spec(notify_url=url, notify_segments=True)) == ()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com/done",
        "ftp://hooks.example.com/",
        "https://other.example.com/",
        "https://hooks.example.com:8443/",
        "https://me:secret@hooks.example.com/",
        "https://hooks.example.com/a b",
        "https://hooks.example.com/\r\nX: y",
        "https://hooks.example.com\\@other/",
        "https://hooks.example.com/" + "x" * 2048,
        "http://10.0.0.1/",
        "http://[::1]/",
    ],
)
def test_another_address_is_refused(url: str) -> None:
    found = violations(spec(notify_url=url))
    assert [(item.field, item.reason) for item in found] == [("spec.notify_url", "INVALID_FIELD")]
    assert "secret" not in found[0].description


def test_segments_are_told_to_an_address_only() -> None:
    assert fields(spec(notify_segments=True)) == {"spec.notify_segments"}


# --- Reach -----------------------------------------------------------------------------------


def _beyond(reach: Reach, wanted: JobSpec) -> set[str]:
    checker = Checker(BOUNDS, reach)
    checker.spec(wanted)
    assert {item.reason for item in checker.violations} <= {OUT_OF_REACH}
    return {item.field for item in checker.violations}


@pytest.mark.parametrize(
    ("read", "uri", "allowed"),
    [
        (None, "/v/film.mp4", True),
        ((), "/v/film.mp4", False),
        (("/v",), "/v/film.mp4", True),
        (("/v/a",), "/v/a/film.mp4", True),
        (("/v/a",), "/v/ab/film.mp4", False),
        (("/v/a",), "/v/film.mp4", False),
        (("s3://videos",), "/v/film.mp4", False),
        (("s3://videos",), "s3://videos/a.mp4", True),
        (("s3://video",), "s3://videos/a.mp4", False),
        (("s3://out-1",), "s3://out-2/a.mp4", False),
        (("s3://out-*",), "s3://out-2/a.mp4", True),
        (("main://videos",), "s3://videos/a.mp4", True),
        (("oss://videos",), "s3://videos/a.mp4", False),
        # What an alias leads to is what counts.
        (("s3://videos",), "oss://old/a.mp4", True),
        (("oss://old",), "oss://old/a.mp4", False),
        (("oss://films",), "https://films.oss-cn-shanghai.example.com/a.mp4", True),
        (("s3://videos",), "https://films.oss-cn-shanghai.example.com/a.mp4", False),
        (("https://cdn.example.com",), "https://cdn.example.com/a.mp4", True),
        (("https://cdn.example.com",), "http://cdn.example.com/a.mp4", False),
        (("https://*.open.example.com",), "https://x.open.example.com/a.mp4?sig=1", True),
        (("s3://videos", "/v"), "https://cdn.example.com/a.mp4", False),
        # Beyond the server's own settings no key reaches: refused as before, by the settings.
    ],
)
def test_a_key_reads_what_it_reaches(read: tuple[str, ...] | None, uri: str, allowed: bool) -> None:
    found = _beyond(Reach(read=read, write=()), spec(input=Input(uri=uri)))
    assert found == (set() if allowed else {"spec.input.uri"})


@pytest.mark.parametrize(
    ("write", "template", "allowed"),
    [
        (None, "/w/{index}.mp4", True),
        ((), "/w/{index}.mp4", False),
        (("/w",), "/w/{index}.mp4", True),
        (("/w/a",), "/w/a/{index}.mp4", True),
        (("/w/a",), "/w/a/b/x{index}.mp4", True),
        (("/w/a",), "/w/{index}.mp4", False),
        # A placeholder that happens to make the folder's name is no way in.
        (("/w/0",), "/w/{index}/x.mp4", False),
        (("/w/film",), "/w/{stem}/{index}.mp4", False),
        (("s3://videos",), "s3://videos/{index}.mp4", True),
        (("s3://videos",), "s3://out-1/{index}.mp4", False),
        (("s3://videos",), "/w/{index}.mp4", False),
    ],
)
def test_a_key_writes_where_it_reaches(
    write: tuple[str, ...] | None, template: str, allowed: bool
) -> None:
    found = _beyond(Reach(write=write), output(uri_template=template))
    assert found == (set() if allowed else {"spec.output.uri_template"})
