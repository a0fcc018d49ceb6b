"""From the options to what the contract takes."""

from __future__ import annotations

import dataclasses
import re
import sys
from fractions import Fraction
from typing import TypeVar

from reelsplit.cli import options, parameters, report_paths, times
from reelsplit.cli.failures import Problems
from reelsplit.cli.report_paths import Report
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
from reelsplit.types.record import Record
from reelsplit.types.spec import (
    AdaptiveDetector,
    ContentDetector,
    CropRegion,
    Effort,
    FixedInterval,
    Footage,
    HashDetector,
    HistogramDetector,
    Input,
    JobSpec,
    ReelsplitDetector,
    ReportOptions,
    ReportTarget,
    ShotDetection,
    ThresholdDetector,
    TimeRange,
    TransitionPolicy,
    UserDefined,
)

Mode = UserDefined | ShotDetection | FixedInterval
Library = AdaptiveDetector | ContentDetector | ThresholdDetector | HashDetector | HistogramDetector
_OWN = ("effort", "sensitivity", "footage")
_DETECTORS: dict[options.Detector, type[Library]] = {
    options.Detector.ADAPTIVE: AdaptiveDetector,
    options.Detector.CONTENT: ContentDetector,
    options.Detector.THRESHOLD: ThresholdDetector,
    options.Detector.HASH: HashDetector,
    options.Detector.HISTOGRAM: HistogramDetector,
}
_MEDIA_ID = re.compile(r"[0-9a-f]{32}")
_MODES = "--ranges, --ranges-file, --every or --shots"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all jobs of one command have in common: the spec without input and location."""

    mode: Mode
    output: Output
    """With an empty template."""
    labels: dict[str, str]
    timeout: Fraction | None
    fail_fast: bool
    notify_url: str | None
    notify_segments: bool
    overwrites: bool = False
    """Whether reports replace what is there already."""

    def spec(self, job: Job) -> JobSpec:
        """The spec of one of the jobs."""
        output = None
        if job.template is not None:
            output = dataclasses.replace(self.output, uri_template=job.template)
        return JobSpec(
            input=_input(job.source),
            mode=self.mode,
            output=output,
            reports=self._reports(job),
            labels=self.labels,
            timeout=self.timeout,
            fail_fast=self.fail_fast,
            notify_url=self.notify_url,
            notify_segments=self.notify_segments,
        )

    def _reports(self, job: Job) -> ReportOptions | None:
        if not job.reports:
            return None
        return ReportOptions(
            kinds=[report.kind for report in job.reports if report.template is None],
            targets=[
                ReportTarget(kind=report.kind, uri_template=report.template)
                for report in job.reports
                if report.template is not None
            ],
            overwrite_policy=OverwritePolicy.REPLACE if self.overwrites else None,
        )


def _input(source: str) -> Input:
    """A location, or an asset as ``media:ID``."""
    media_id = source.removeprefix("media:")
    is_asset = media_id != source and _MEDIA_ID.fullmatch(media_id) is not None
    return Input(media_id=media_id) if is_asset else Input(uri=source)


def recipe(
    mode: options.ModeOptions,
    detect: options.DetectOptions,
    output: options.OutputOptions,
    job: options.JobOptions,
    *,
    overwrite: bool = False,
) -> Recipe:
    """Read all options. Raises one failure that names all that are wrong."""
    problems = Problems()
    found_mode = build_mode(mode, detect, problems)
    found_output = build_output(output, problems)
    labels: dict[str, str] = {}
    for text in job.label or ():
        pair = problems.read("--label", times.parse_label, text)
        if pair is not None and labels.setdefault(*pair) != pair[1]:
            problems.add("--label", f"{pair[0]!r} is given twice")
    timeout = problems.read("--timeout", times.parse_time, job.timeout)
    problems.check()
    assert found_mode is not None
    return Recipe(
        mode=found_mode,
        output=found_output,
        labels=labels,
        timeout=timeout,
        fail_fast=job.fail_fast,
        notify_url=job.notify,
        notify_segments=job.notify_segments,
        overwrites=overwrite or output.overwrite,
    )


def read_reports(wanted: options.ReportOptions) -> list[Report]:
    """The reports that were asked for. Raises one failure that names all that are wrong."""
    problems = Problems()
    found = report_paths.read(wanted.report or (), problems)
    problems.check()
    return found


def build_mode(
    mode: options.ModeOptions, detect: options.DetectOptions, problems: Problems
) -> Mode | None:
    """The mode; None if there is none or more than one, or it is wrong."""
    chosen = [
        flag
        for flag, given in (
            ("--ranges", bool(mode.ranges)),
            ("--ranges-file", mode.ranges_file is not None),
            ("--every", mode.every is not None),
            ("--shots", mode.shots),
        )
        if given
    ]
    if not chosen:
        problems.add("", f"say how to split: {_MODES}")
    elif len(chosen) > 1:
        problems.add(" ".join(chosen), f"only one of {_MODES} can be given")
    if not mode.shots:
        for field in dataclasses.fields(detect):
            if getattr(detect, field.name) not in (None, False):
                problems.add("--" + field.name.replace("_", "-"), "goes with --shots only")
    if mode.strict_ranges and not mode.ranges and mode.ranges_file is None:
        problems.add("--strict-ranges", "goes with --ranges and --ranges-file only")
    if len(chosen) != 1:
        return None
    if mode.shots:
        return build_shots(detect, problems)
    if mode.every is not None:
        interval = problems.read("--every", times.parse_time, mode.every)
        return FixedInterval(interval=interval) if interval is not None else None
    ranges: list[times.Range] = []
    for text in mode.ranges or ():
        for part in text.split(","):
            one = problems.read("--ranges", times.parse_range, part)
            ranges += [one] if one is not None else []
    ranges += problems.read("--ranges-file", _read_file, mode.ranges_file) or []
    return UserDefined(
        ranges=[TimeRange(start_offset=start, end_offset=end) for start, end in ranges],
        strict_ranges=mode.strict_ranges,
    )


def build_shots(detect: options.DetectOptions, problems: Problems) -> ShotDetection:
    """The shot detection that was asked for."""
    return ShotDetection(
        detector=build_detector(detect, problems),
        transition_policy=TransitionPolicy[detect.transition.name] if detect.transition else None,
        crop=problems.read("--crop", _read_crop, detect.crop),
        downscale=detect.downscale,
        skip_letterbox=detect.skip_letterbox,
        min_shot_duration=problems.read("--min-shot", times.parse_time, detect.min_shot),
        max_shot_duration=problems.read("--max-shot", times.parse_time, detect.max_shot),
        start_offset=problems.read("--start", times.parse_time, detect.start),
        end_offset=problems.read("--end", times.parse_time, detect.end),
    )


def build_detector(
    detect: options.DetectOptions, problems: Problems
) -> ReelsplitDetector | Library | None:
    """The detector that was asked for; None is the server's choice."""
    own = [name for name in _OWN if getattr(detect, name) is not None]
    if detect.detector is None:
        if detect.threshold is not None:
            problems.add(
                "--threshold",
                "needs --detector, since each detector has its own scale; ours has --sensitivity",
            )
        if detect.detector_option:
            problems.add("--detector-option", "needs --detector")
        if not own:
            return None
        return ReelsplitDetector(
            effort=Effort[detect.effort.name] if detect.effort else None,
            sensitivity=detect.sensitivity,
            footage=Footage[detect.footage.name] if detect.footage else None,
        )
    for name in own:
        problems.add(f"--{name}", "is of our own detector; leave out --detector")
    made = _DETECTORS[detect.detector](threshold=detect.threshold)
    return parameters.read(made, detect.detector_option or (), problems)


def _read_crop(text: str) -> CropRegion:
    parts = text.split(",")
    if len(parts) != 4 or not all(re.fullmatch(r" *[0-9]{1,6} *", part) for part in parts):
        raise ValueError(f"{text!r} is not a part of a picture; write X,Y,WIDTH,HEIGHT in pixels")
    x, y, width, height = map(int, parts)
    return CropRegion(x=x, y=y, width=width, height=height)


def build_output(output: options.OutputOptions, problems: Problems) -> Output:
    """The output that was asked for, with an empty template."""
    video = VideoEncoding(
        codec=VideoCodec[output.codec.name] if output.codec else None,
        crf=output.crf,
        bit_rate=problems.read("--bitrate", times.parse_bit_rate, output.bitrate),
        preset=output.preset,
        gop=output.gop,
        frame_rate=problems.read("--fps", times.parse_frame_rate, output.fps),
        profile=output.profile,
        pixel_format=output.pixel_format,
    )
    if output.crf is not None and output.bitrate is not None:
        problems.add("--crf --bitrate", "only one of them can be given")
    audio = AudioEncoding(
        codec=AudioCodec[output.audio.name] if output.audio else None,
        bit_rate=problems.read("--audio-bitrate", times.parse_bit_rate, output.audio_bitrate),
    )
    return Output(
        uri_template="",
        width=output.width,
        height=output.height,
        video=_unless_empty(video),
        audio=_unless_empty(audio),
        cut_mode=CutMode[output.cut.name] if output.cut else None,
        overwrite_policy=OverwritePolicy.REPLACE if output.overwrite else None,
    )


RecordT = TypeVar("RecordT", bound=Record)


def _unless_empty(record: RecordT) -> RecordT | None:
    """Naming anything asks for encoding, so what names nothing is left out."""
    return None if record == type(record)() else record


def _read_file(name: str) -> list[times.Range]:
    try:
        if name == "-":
            return times.read_ranges(sys.stdin)
        with open(name, encoding="utf-8") as file:
            return times.read_ranges(file)
    except OSError as error:
        raise ValueError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{name} is no text in UTF-8") from None
