from __future__ import annotations

import dataclasses
import io
from fractions import Fraction
from pathlib import Path

import pytest

from reelsplit.cli import options, specs
from reelsplit.cli.failures import Failure
from reelsplit.cli.options import DetectOptions, JobOptions, ModeOptions, OutputOptions
from reelsplit.cli.specs import Recipe
from reelsplit.cli.templates import Job
from reelsplit.types.output import (
    AudioCodec,
    AudioEncoding,
    CutMode,
    Output,
    OverwritePolicy,
    VideoCodec,
    VideoEncoding,
)
from reelsplit.types.spec import (
    AdaptiveDetector,
    FixedInterval,
    HashDetector,
    ShotDetection,
    TimeRange,
    UserDefined,
)


def recipe(
    mode: ModeOptions | None = None,
    detect: DetectOptions | None = None,
    output: OutputOptions | None = None,
    job: JobOptions | None = None,
) -> Recipe:
    return specs.recipe(
        mode or ModeOptions(shots=True),
        detect or DetectOptions(),
        output or OutputOptions(),
        job or JobOptions(),
    )


def test_ranges_given_more_than_once_are_joined() -> None:
    mode = ModeOptions(ranges=["10-20,-5", "1:00-2:00"], strict_ranges=True)
    assert recipe(mode).mode == UserDefined(
        ranges=[
            TimeRange(start_offset=10, end_offset=20),
            TimeRange(start_offset=0, end_offset=5),
            TimeRange(start_offset=60, end_offset=120),
        ],
        strict_ranges=True,
    )


def test_ranges_come_from_a_file_or_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = UserDefined(ranges=[TimeRange(start_offset=1, end_offset=2)])
    (tmp_path / "ranges").write_text("1 2\n")
    assert recipe(ModeOptions(ranges_file=str(tmp_path / "ranges"))).mode == wanted
    monkeypatch.setattr("sys.stdin", io.StringIO("1 2\n"))
    assert recipe(ModeOptions(ranges_file="-")).mode == wanted


def test_a_missing_ranges_file_is_told() -> None:
    with pytest.raises(Failure, match="--ranges-file: /no/file: No such file"):
        recipe(ModeOptions(ranges_file="/no/file"))


def test_every() -> None:
    assert recipe(ModeOptions(every="1:00.5")).mode == FixedInterval(interval=Fraction(121, 2))


def test_shots_are_left_to_the_server() -> None:
    assert recipe().mode == ShotDetection()


def test_shot_options() -> None:
    detect = DetectOptions(
        detector=options.Detector.HASH,
        threshold=0.4,
        min_shot="1.5",
        max_shot="60",
        start="5",
        end="1:00",
    )
    assert recipe(detect=detect).mode == ShotDetection(
        detector=HashDetector(threshold=0.4),
        min_shot_duration=Fraction(3, 2),
        max_shot_duration=60,
        start_offset=5,
        end_offset=60,
    )


def test_a_detector_alone_keeps_its_own_threshold() -> None:
    mode = recipe(detect=DetectOptions(detector=options.Detector.ADAPTIVE)).mode
    assert mode == ShotDetection(detector=AdaptiveDetector())


def test_output_asks_for_nothing_by_default() -> None:
    assert recipe().output == Output(uri_template="")


def test_all_of_the_output() -> None:
    output = OutputOptions(
        width=640,
        height=360,
        codec=options.Codec.HEVC,
        crf=23,
        preset="fast",
        gop=48,
        fps="30000/1001",
        profile="main",
        pixel_format="yuv420p",
        audio=options.Audio.OPUS,
        audio_bitrate="96k",
        cut=options.Cut.EDIT_LIST,
        overwrite=True,
    )
    assert recipe(output=output).output == Output(
        uri_template="",
        width=640,
        height=360,
        video=VideoEncoding(
            codec=VideoCodec.HEVC,
            crf=23,
            preset="fast",
            gop=48,
            frame_rate=Fraction(30000, 1001),
            profile="main",
            pixel_format="yuv420p",
        ),
        audio=AudioEncoding(codec=AudioCodec.OPUS, bit_rate=96_000),
        cut_mode=CutMode.EDIT_LIST,
        overwrite_policy=OverwritePolicy.REPLACE,
    )


def test_every_option_of_the_output_reaches_the_spec() -> None:
    texts = {"bitrate": "3M", "fps": "25", "audio_bitrate": "96k"}
    kinds = {
        "codec": options.Codec.AV1,
        "audio": options.Audio.AAC,
        "cut": options.Cut.ENCODE,
        "overwrite": True,
    }
    for field in dataclasses.fields(OutputOptions):
        value: object = texts.get(field.name) or kinds.get(field.name)
        if value is None:
            value = "x" if "str" in str(field.type) else 16
        changed = recipe(output=OutputOptions(**{field.name: value}))  # type: ignore[arg-type]
        assert changed.output != Output(uri_template=""), field.name


def test_the_rest_of_the_job() -> None:
    made = recipe(job=JobOptions(fail_fast=True, label=["a=b", "c=d"], timeout="1:00"))
    spec = made.spec(Job(name="x", source="x.mp4", template="{index}.mp4"))
    assert spec.input.uri == "x.mp4"
    assert spec.output == Output(uri_template="{index}.mp4")
    assert (spec.labels, spec.timeout, spec.fail_fast) == ({"a": "b", "c": "d"}, 60, True)


def test_without_template_there_is_no_output() -> None:
    assert recipe().spec(Job(name="x", source="x.mp4", template=None)).output is None


@pytest.mark.parametrize(
    ("mode", "detect", "says"),
    [
        (ModeOptions(), None, "say how to split"),
        (ModeOptions(every="1", shots=True), None, "only one of"),
        (ModeOptions(ranges=["1-2"], ranges_file="x"), None, "only one of"),
        (ModeOptions(every="x"), None, "--every: 'x' is not a time"),
        (ModeOptions(every="1"), DetectOptions(min_shot="1"), "--min-shot: goes with --shots"),
        (ModeOptions(every="1", strict_ranges=True), None, "--strict-ranges: goes with"),
        (None, DetectOptions(threshold=3), "needs --detector"),
    ],
)
def test_modes_that_make_no_sense(
    mode: ModeOptions | None, detect: DetectOptions | None, says: str
) -> None:
    with pytest.raises(Failure, match=says):
        recipe(mode, detect)


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(Failure) as caught:
        recipe(
            ModeOptions(ranges=["1-x,5", "3-4"]),
            None,
            OutputOptions(fps="x", bitrate="y", crf=3),
            JobOptions(label=["a", "b=1", "b=2"], timeout="-1"),
        )
    places = [problem.place for problem in caught.value.problems]
    assert places == [
        "--ranges",
        "--ranges",
        "--bitrate",
        "--fps",
        "--crf --bitrate",
        "--label",
        "--label",
        "--timeout",
    ]
    assert len(caught.value.lines()) == 9
