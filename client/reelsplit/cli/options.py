"""The options of the commands, in groups. A command takes a group as one parameter, and
`with_groups` lets typer see the fields of the group as options of their own."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

_MODE, _DETECT, _OUTPUT, _SERVER = "Mode (exactly one)", "Shots", "Output", "Server"
_REPORTS = "Reports"


class Detector(StrEnum):
    """PySceneDetect's detectors."""

    ADAPTIVE = "adaptive"
    CONTENT = "content"
    THRESHOLD = "threshold"
    HASH = "hash"
    HISTOGRAM = "histogram"


class Effort(StrEnum):
    """How much of the video is looked at."""

    EXACT = "exact"
    FAST = "fast"
    NEURAL = "neural"


class Footage(StrEnum):
    """What the defaults of the detection are chosen for."""

    FILM = "film"
    WEB = "web"
    SCREEN = "screen"


class Transition(StrEnum):
    """Where the border lies in a gradual transition."""

    MIDDLE = "middle"
    START = "start"
    END = "end"
    DROP = "drop"


class ReportName(StrEnum):
    """What can be written besides segments."""

    JSON = "json"
    CSV = "csv"
    EDL = "edl"
    OTIO = "otio"
    HTML = "html"
    SCORES = "scores"


class Codec(StrEnum):
    """Codecs that video can be encoded to."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"
    VP9 = "vp9"


class Audio(StrEnum):
    """What becomes of the audio tracks."""

    COPY = "copy"
    AAC = "aac"
    OPUS = "opus"
    NONE = "none"


class Cut(StrEnum):
    """How segments are cut out of the source."""

    AUTO = "auto"
    KEYFRAME = "keyframe"
    EDIT_LIST = "edit-list"
    ENCODE = "encode"


def _option(name: str, help: str, panel: str | None = None, metavar: str | None = None) -> Any:
    return typer.Option(name, help=help, rich_help_panel=panel, metavar=metavar)


Json = Annotated[bool, _option("--json", "Print JSON instead of text.")]
Overwrite = Annotated[
    bool, _option("--overwrite", "Replace reports that are there already.", _REPORTS)
]
JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="The job.")]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModeOptions:
    """How the segments are found."""

    ranges: Annotated[
        list[str] | None,
        _option(
            "--ranges",
            "These ranges, with commas between: 10-20,00:00:35.5-50. -20 is from the beginning. "
            "Times are seconds, MM:SS or HH:MM:SS.fff.",
            _MODE,
            "RANGES",
        ),
    ] = None
    ranges_file: Annotated[
        str | None,
        _option(
            "--ranges-file",
            "The ranges of a file, one a line: START-END, or two columns; # begins a comment. "
            "- reads them from stdin.",
            _MODE,
            "FILE",
        ),
    ] = None
    every: Annotated[str | None, _option("--every", "Pieces of this length.", _MODE, "TIME")] = None
    shots: Annotated[bool, _option("--shots", "The shots of the video.", _MODE)] = False
    strict_ranges: Annotated[
        bool,
        _option("--strict-ranges", "Fail ranges that overlap the end instead of clipping.", _MODE),
    ] = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DetectOptions:
    """How shots are found."""

    effort: Annotated[
        Effort | None,
        _option(
            "--effort",
            "exact (default): every frame; fast: key frames, and what is in doubt between them; "
            "neural: every frame, with a neural net, which needs the server's extra 'neural'.",
            _DETECT,
        ),
    ] = None
    sensitivity: Annotated[
        float | None,
        _option("--sensitivity", "0 to 1, 0.5 by default; more finds more boundaries.", _DETECT),
    ] = None
    footage: Annotated[
        Footage | None,
        _option(
            "--footage",
            "What kind of video it is: film (default; also series and animation), web (clips with "
            "fast cutting and effects), screen (recordings of a screen).",
            _DETECT,
        ),
    ] = None
    detector: Annotated[
        Detector | None,
        _option("--detector", "One of PySceneDetect's detectors instead of our own.", _DETECT),
    ] = None
    threshold: Annotated[
        float | None,
        _option("--threshold", "The threshold of --detector, on its own scale.", _DETECT),
    ] = None
    detector_option: Annotated[
        list[str] | None,
        _option(
            "--detector-option",
            "Another parameter of --detector, such as window_width=4, luma_only=true or "
            "weights.edges=0.2; more than once.",
            _DETECT,
            "NAME=VALUE",
        ),
    ] = None
    transition: Annotated[
        Transition | None,
        _option(
            "--transition",
            "Where a new shot begins in a dissolve, fade or wipe: in the middle (default), at its "
            "start, behind its end; or drop its frames, so that they belong to no shot.",
            _DETECT,
        ),
    ] = None
    min_shot: Annotated[
        str | None, _option("--min-shot", "The shortest shot.", _DETECT, "TIME")
    ] = None
    max_shot: Annotated[
        str | None,
        _option("--max-shot", "The longest shot; longer are split evenly.", _DETECT, "TIME"),
    ] = None
    crop: Annotated[
        str | None,
        _option(
            "--crop",
            "Look only at this part of the picture: its left and upper edge and its size, in "
            "pixels.",
            _DETECT,
            "X,Y,WIDTH,HEIGHT",
        ),
    ] = None
    skip_letterbox: Annotated[
        bool | None,
        _option(
            "--skip-letterbox/--no-skip-letterbox",
            "Leave black bars around the picture out, or not; by default where they are certain.",
            _DETECT,
        ),
    ] = None
    downscale: Annotated[
        int | None,
        _option(
            "--downscale",
            "Divide width and height by this before looking, 1 to 64; by default by the size.",
            _DETECT,
        ),
    ] = None
    start: Annotated[
        str | None, _option("--start", "Look only behind this time.", _DETECT, "TIME")
    ] = None
    end: Annotated[str | None, _option("--end", "Look only before this time.", _DETECT, "TIME")] = (
        None
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What is written besides segments."""

    report: Annotated[
        list[str] | None,
        _option(
            "--report",
            "Write the shots as json, csv, edl (CMX 3600), otio (OpenTimelineIO) or html (a page "
            "with a picture of each and the score curve), or the scores of all frames as scores "
            "(CSV); more than once. PATH is a file or folder, and takes {stem} and {job_id}; by "
            "default it is the input's name, beside the segments, or here where there are none.",
            _REPORTS,
            "KIND[=PATH]",
        ),
    ] = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """How the segments are made."""

    width: Annotated[int | None, _option("--width", "Pixels, even.", _OUTPUT)] = None
    height: Annotated[int | None, _option("--height", "Pixels, even.", _OUTPUT)] = None
    codec: Annotated[Codec | None, _option("--codec", "Encode video to this codec.", _OUTPUT)] = (
        None
    )
    crf: Annotated[
        float | None, _option("--crf", "Constant quality, lower is better.", _OUTPUT)
    ] = None
    bitrate: Annotated[
        str | None, _option("--bitrate", "Mean video rate: 3M, 800k.", _OUTPUT, "RATE")
    ] = None
    preset: Annotated[
        str | None, _option("--preset", "The encoder's speed against size.", _OUTPUT)
    ] = None
    gop: Annotated[int | None, _option("--gop", "The most frames between key frames.", _OUTPUT)] = (
        None
    )
    fps: Annotated[
        str | None, _option("--fps", "Frames a second: 25, 30000/1001.", _OUTPUT, "RATE")
    ] = None
    profile: Annotated[str | None, _option("--profile", "The encoder's profile.", _OUTPUT)] = None
    pixel_format: Annotated[
        str | None, _option("--pixel-format", "As FFmpeg names it: yuv420p.", _OUTPUT)
    ] = None
    audio: Annotated[
        Audio | None, _option("--audio", "Copy the audio (default), encode or drop it.", _OUTPUT)
    ] = None
    audio_bitrate: Annotated[
        str | None, _option("--audio-bitrate", "Rate of each track: 128k.", _OUTPUT, "RATE")
    ] = None
    cut: Annotated[
        Cut | None,
        _option(
            "--cut",
            "auto: exact, encoding as little as possible; keyframe: no encoding, bounds move to "
            "key frames; edit-list: no encoding, MP4 and MOV; encode: exact, all encoded.",
            _OUTPUT,
        ),
    ] = None
    overwrite: Annotated[
        bool, _option("--overwrite", "Replace files that are there already.", _OUTPUT)
    ] = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What else a job takes."""

    fail_fast: Annotated[bool, _option("--fail-fast", "Stop at the first segment that fails.")] = (
        False
    )
    label: Annotated[
        list[str] | None,
        _option("--label", "A label to find the job by; more than once.", None, "KEY=VALUE"),
    ] = None
    timeout: Annotated[
        str | None, _option("--timeout", "The longest time for the job.", None, "TIME")
    ] = None
    notify: Annotated[
        str | None,
        _option("--notify", "An http or https URL that is told of the job's end.", None, "URL"),
    ] = None
    notify_segments: Annotated[
        bool, _option("--notify-segments", "Tell it of each published segment too.")
    ] = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a server is reached, wherever it is."""

    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="REELSPLIT_TOKEN",
            help="The bearer token; better given in the environment, where no one else sees it.",
            rich_help_panel=_SERVER,
        ),
    ] = None
    tls: Annotated[bool, _option("--tls", "Use TLS.", _SERVER)] = False
    ca_file: Annotated[
        str | None,
        _option("--ca-file", "PEM of the authority to trust; implies --tls.", _SERVER, "FILE"),
    ] = None

    client_cert: Annotated[
        str | None,
        _option(
            "--client-cert",
            "PEM of your own certificate; implies --tls, needs --client-key.",
            _SERVER,
            "FILE",
        ),
    ] = None
    client_key: Annotated[
        str | None, _option("--client-key", "PEM of its key.", _SERVER, "FILE")
    ] = None

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return bool(self.tls or self.ca_file or self.client_cert or self.client_key)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MaybeServer(Access):
    """A server, or none: then one is started for this command alone."""

    server: Annotated[
        str | None,
        _option(
            "--server",
            "Use this server instead of starting one; paths are then the server's.",
            _SERVER,
            "HOST:PORT",
        ),
    ] = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Server(Access):
    """A running server."""

    server: Annotated[
        str,
        typer.Option(
            "--server",
            envvar="REELSPLIT_SERVER",
            help="The server.",
            metavar="HOST:PORT",
            rich_help_panel=_SERVER,
        ),
    ] = "localhost:50051"


def with_groups(function: Callable[..., None]) -> Callable[..., None]:
    """The same command, whose parameters that are groups are laid out as single options."""
    hints = typing.get_type_hints(function, include_extras=True)
    groups = {
        name: hint
        for name, hint in hints.items()
        if isinstance(hint, type) and dataclasses.is_dataclass(hint)
    }
    members = {name: _parameters(group) for name, group in groups.items()}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        single = parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name])
        parameters.extend(members.get(name, [single]))

    @functools.wraps(function)
    def command(**values: object) -> None:
        made = {
            name: group(**{member.name: values.pop(member.name) for member in members[name]})
            for name, group in groups.items()
        }
        function(**values, **made)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    return command


def _parameters(group: type[Any]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]
