"""What a spec must be, as far as spec and settings decide it. The source is not opened."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from fractions import Fraction
from urllib.parse import urlsplit

from reelsplit.types.media import Media
from reelsplit.types.output import (
    AudioCodec,
    AudioEncoding,
    CutMode,
    Output,
    VideoEncoding,
)
from reelsplit.types.spec import (
    FixedInterval,
    Input,
    JobSpec,
    ShotDetection,
    TimeRange,
    UserDefined,
)
from reelsplit_server.access.reach import EVERYTHING, Reach
from reelsplit_server.app.addresses import check_address
from reelsplit_server.app.bounds import Bounds
from reelsplit_server.app.detection import check_detection
from reelsplit_server.app.errors import OUT_OF_REACH, Violation
from reelsplit_server.app.reports import check_report_places, check_reports
from reelsplit_server.media import formats
from reelsplit_server.storage import location, template
from reelsplit_server.storage.routes import FilePlace, ObjectPlace, Place, Verb, WebPlace

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_.-]{0,62}", re.ASCII)
_TOKEN = re.compile(r"[\x21-\x7e]{1,64}")
_MOST_LABELS = 64
_MOST_TITLE = 128
_MOST_OFFSET = 10 * 366 * 86400
_SHORTEST_INTERVAL = Fraction(1, 10)
_HAVE_EDIT_LISTS = (formats.Container.MP4, formats.Container.MOV)


class Checker:
    """Collects what is wrong with a request."""

    def __init__(self, bounds: Bounds, reach: Reach = EVERYTHING) -> None:
        self.bounds = bounds
        self._reach = reach
        self.violations: list[Violation] = []

    def wrong(self, field: str, description: str) -> None:
        """A field is wrong; ``description`` is the end of a sentence that begins with it."""
        self.violations.append(Violation(field=field, description=description))

    def unsupported(self, field: str, description: str) -> None:
        """A field asks for what this version does not do."""
        self.violations.append(
            Violation(field=field, description=description, reason="NOT_SUPPORTED")
        )

    def within(
        self, field: str, value: float | Fraction | None, low: float, high: float, unit: str = ""
    ) -> None:
        """A number must lie between two others."""
        # As a float, since the bounds are: one tenth is less than 0.1.
        if value is not None and not (math.isfinite(value) and low <= float(value) <= high):
            self.wrong(field, f"is {float(value):g}; it lies from {low:,g} to {high:,g}{unit}")

    def length(self, field: str, text: str) -> bool:
        """Whether a template is not too long."""
        fits = len(text) <= self.bounds.most_template
        if not fits:
            self.wrong(field, f"is longer than {self.bounds.most_template} characters")
        return fits

    def client_token(self, field: str, token: str) -> None:
        """A client token is up to 64 printable ASCII characters."""
        if token and not _TOKEN.fullmatch(token):
            self.wrong(field, "takes 1 to 64 printable ASCII characters without spaces")

    def labels(self, field: str, labels: Mapping[str, str]) -> None:
        """Labels have short, plain keys."""
        if len(labels) > _MOST_LABELS:
            self.wrong(field, f"has {len(labels)} labels; at most {_MOST_LABELS} are taken")
        for key, value in labels.items():
            if not _LABEL_KEY.fullmatch(key):
                self.wrong(
                    f"{field}[{key[:80]!r}]",
                    "has a key that is not 1 to 63 of a-z 0-9 _ . - beginning with a letter",
                )
            if len(value) > 128:
                self.wrong(f"{field}[{key[:80]!r}]", "has a value of more than 128 characters")

    def spec(self, spec: JobSpec, at: str = "spec") -> None:
        """Check a whole spec."""
        stem = self._input(spec.input, f"{at}.input")
        self._mode(spec, at)
        if spec.output is not None:
            self._output(spec.output, f"{at}.output", stem)
        if spec.reports is not None:
            check_reports(self, spec, stem, f"{at}.reports")
        if spec.notify_url is not None:
            why = check_address(spec.notify_url, self.bounds.callbacks)
            if why is not None:
                self.wrong(f"{at}.notify_url", why)
        elif spec.notify_segments:
            self.wrong(f"{at}.notify_segments", "needs notify_url")
        self._user_data(f"{at}.user_data", spec.user_data)
        self.labels(f"{at}.labels", spec.labels)
        self.within(f"{at}.priority", spec.priority, -100, 100)
        for name in ("timeout", "segment_timeout"):
            self.within(f"{at}.{name}", getattr(spec, name), 0.001, 30 * 86400, " seconds")
        most = float(self.bounds.most_time_to_live)
        self.within(f"{at}.time_to_live", spec.time_to_live, 1, most, " seconds")

    # --- Input -----------------------------------------------------------------------------

    def _input(self, wanted: Input | None, at: str) -> str:
        """Check where a source is; answers what ``{stem}`` stands for."""
        if wanted is None or (wanted.uri is None and wanted.media_id is None):
            self.wrong(at, "is required: give a uri or a media_id")
            return location.stem_of("")
        if wanted.media_id is not None:
            # Those that are one were replaced by their locations.
            if wanted.endpoint is not None:
                self.wrong(f"{at}.endpoint", "belongs with a uri; an asset has its own")
            else:
                self.wrong(
                    f"{at}.media_id",
                    "takes the 32 lower-case hexadecimal digits of a media asset",
                )
        place = None
        if wanted.uri is not None:
            place = self.place(at, "uri", wanted.uri, wanted.endpoint, "read")
        return place.stem if place is not None else location.stem_of(wanted.uri or "")

    def place(
        self, at: str, name: str, uri: str, endpoint: str | None, verb: Verb
    ) -> location.Location | None:
        """Check a location and the endpoint beside it."""
        routes = self.bounds.routes
        try:
            place = location.parse(uri)
        except location.LocationError as error:
            self.wrong(f"{at}.{name}", str(error))
            return None
        try:
            found = routes.resolve(place, verb, endpoint)
        except location.LocationError as error:
            alone = endpoint is None or not routes.leads(place, verb)
            self.wrong(f"{at}.{name}" if alone else f"{at}.endpoint", str(error))
            return None
        if not self._reaches(found, verb):
            self._out_of_reach(at, name, verb)
            return None
        return place

    def folder(self, at: str, name: str, text: str, place: location.Location) -> None:
        """Check the folder of a template for files: what stands for a placeholder must not decide
        whose folder it is."""
        if place.scheme is not location.Scheme.FILE:
            return
        folder = "/"
        with contextlib.suppress(location.LocationError):
            folder = location.parse(text[: text.find("{")].rpartition("/")[0]).path
        if not self._reach.folder("write", folder):
            self._out_of_reach(at, name, "write")

    def _out_of_reach(self, at: str, name: str, verb: Verb) -> None:
        description = (
            f"lies where this access key may not {verb}; its operator gives keys their folders, "
            "buckets and hosts"
        )
        self.violations.append(
            Violation(field=f"{at}.{name}", description=description, reason=OUT_OF_REACH)
        )

    def _reaches(self, place: Place, verb: Verb) -> bool:
        match place:
            case FilePlace(path=path):
                return self._reach.folder(verb, path)
            case ObjectPlace(store=store, bucket=bucket):
                scheme = self.bounds.routes.scheme_of(store)
                return self._reach.bucket(verb, scheme, store, bucket)
            case WebPlace(url=url):
                parts = urlsplit(url)
                return self._reach.host(parts.scheme, parts.netloc)

    def lone(self, field: str, uri: str, endpoint: str | None, verb: Verb) -> None:
        """Check a location that stands in no spec."""
        known = len(self.violations)
        self.place("", field, uri, endpoint, verb)
        self.violations[known:] = [
            replace(item, field=item.field.removeprefix(".")) for item in self.violations[known:]
        ]

    def media(self, wanted: Media, endpoint: str | None = None) -> None:
        """Check what an asset is registered with."""
        self.lone("uri", wanted.uri, endpoint, "read")
        if len(wanted.title) > _MOST_TITLE:
            self.wrong("title", f"is longer than {_MOST_TITLE} characters")
        self.labels("labels", wanted.labels)
        self._user_data("user_data", wanted.user_data or None)

    def places(self, spec: JobSpec, verbs: Collection[Verb], at: str = "spec") -> None:
        """Check only where a spec reads and writes."""
        if "read" in verbs:
            self._input(spec.input, f"{at}.input")
        if "write" in verbs:
            stem = location.stem_of((spec.input and spec.input.uri) or "")
            if spec.output is not None:
                self._template(spec.output, f"{at}.output", stem)
            if spec.reports is not None:
                check_report_places(self, spec, stem, f"{at}.reports")

    # --- Modes -----------------------------------------------------------------------------

    def _mode(self, spec: JobSpec, at: str) -> None:
        match spec.mode:
            case UserDefined(ranges=ranges):
                most = self.bounds.most_ranges
                if not ranges:
                    self.wrong(f"{at}.user_defined.ranges", "is required: give at least one range")
                if len(ranges) > most:
                    self.wrong(
                        f"{at}.user_defined.ranges",
                        f"has {len(ranges):,} ranges; at most {most:,} are taken",
                    )
                for place, wanted in enumerate(ranges[:most]):
                    self._range(f"{at}.user_defined.ranges[{place}]", wanted)
            case FixedInterval(interval=interval):
                field = f"{at}.fixed_interval.interval"
                if interval is None:
                    self.wrong(field, "is required")
                else:
                    self.within(
                        field, interval, float(_SHORTEST_INTERVAL), _MOST_OFFSET, " seconds"
                    )
            case ShotDetection():
                check_detection(self, spec.mode, f"{at}.shot_detection")
            case _:
                self.wrong(
                    f"{at}.mode",
                    "is required: give one of user_defined, shot_detection, fixed_interval",
                )

    def _range(self, at: str, wanted: TimeRange) -> None:
        start, end = wanted.start_offset, wanted.end_offset
        for name, value in (("start_offset", start), ("end_offset", end)):
            if value is None:
                self.wrong(f"{at}.{name}", "is required")
            elif value < 0:
                self.wrong(f"{at}.{name}", f"is {float(value):g} s; times are not negative")
            elif value > _MOST_OFFSET:
                self.wrong(f"{at}.{name}", "is more than ten years")
        if start is not None and end is not None and 0 <= end <= start:
            self.wrong(
                f"{at}.end_offset",
                f"is {float(end):g} s, which is not after the start at {float(start):g} s",
            )

    # --- Output ----------------------------------------------------------------------------

    def _output(self, output: Output, at: str, stem: str) -> None:
        container = self._template(output, at, stem)
        for name, size in (("width", output.width), ("height", output.height)):
            self.within(f"{at}.{name}", size, 16, 16384, " pixels")
            if size is not None and size % 2:
                self.wrong(f"{at}.{name}", f"is {size}; it must be even")
        if output.video is not None:
            self._video(output.video, f"{at}.video", container)
        if output.audio is not None:
            self._audio(output.audio, f"{at}.audio", container)
        if output.cut_mode in (CutMode.KEYFRAME, CutMode.EDIT_LIST) and encodes(output):
            self.wrong(
                f"{at}.cut_mode",
                f"is {output.cut_mode.name}, which encodes nothing; leave out width, height and "
                "video, or take ENCODE",
            )
        if output.cut_mode is CutMode.EDIT_LIST and container not in (None, *_HAVE_EDIT_LISTS):
            self.wrong(
                f"{at}.cut_mode",
                "is EDIT_LIST, which only .mp4 and .mov files have; take another ending or mode",
            )

    def _template(self, output: Output, at: str, stem: str) -> formats.Container | None:
        text, at, parent = output.uri_template, f"{at}.uri_template", at
        if not text:
            self.wrong(at, "is required, such as /videos/out/{index:04d}.mp4")
            return None
        if not self.length(at, text):
            return None
        try:
            template.check(text)
        except template.TemplateError as error:
            self.wrong(at, str(error))
            return None
        samples = [
            template.Values(
                index=n, start=Fraction(n), end=Fraction(n), stem=name, job_id=f"{n:032}"
            )
            for n, name in enumerate((stem, f"{stem}2"))
        ]
        first, second = (template.expand(text, sample) for sample in samples)
        place = self.place(parent, "uri_template", first, output.endpoint, "write")
        if place is not None:
            self.folder(parent, "uri_template", text, place)
        if place is not None:
            with contextlib.suppress(location.LocationError):
                other = location.parse(second)
                if (other.bucket, other.endpoint) != (place.bucket, place.endpoint):
                    self.wrong(at, "has a placeholder in its bucket; only keys take them")
        container = formats.container_of(text)
        if container is None:
            endings = ", ".join(formats.ENDINGS)
            self.wrong(at, f"has an ending that names no container; take one of {endings}")
        return container

    def _video(self, video: VideoEncoding, at: str, container: formats.Container | None) -> None:
        codec = formats.VideoCodec[video.codec.name] if video.codec is not None else None
        if codec is not None and container is not None:
            self._sentence(f"{at}.codec", formats.check_video_codec(codec, container))
        # What depends on the codec is checked against the named one. Where none is named, the
        # source decides; the worker's encoder then has the last word.
        checks: list[tuple[str, object, Callable[..., str | None]]] = [
            ("crf", video.crf, formats.check_crf),
            ("preset", video.preset, formats.check_preset),
            ("profile", video.profile, formats.check_profile),
            ("level", video.level, formats.check_level),
            ("pixel_format", video.pixel_format, formats.check_pixel_format),
        ]
        for name, value, check in checks:
            if value is None:
                continue
            codecs = [codec] if codec is not None else _held(container)
            answers = [check(one, value) for one in codecs]
            if all(answers):
                self._sentence(f"{at}.{name}", answers[0] if codec is not None else None)
                if codec is None:
                    self.wrong(f"{at}.{name}", f"is {value!r}, which no codec takes")
        if video.crf is not None and video.bit_rate is not None:
            self.wrong(f"{at}.crf", "and bit_rate exclude each other")
        if codec is not None and video.profile is not None and video.pixel_format is not None:
            self._sentence(
                f"{at}.profile",
                formats.check_profile_with_pixel_format(codec, video.profile, video.pixel_format),
            )
        self.within(f"{at}.bit_rate", video.bit_rate, 1000, 10**9)
        self.within(f"{at}.max_bit_rate", video.max_bit_rate, 1000, 10**9)
        self.within(f"{at}.buffer_size", video.buffer_size, 1000, 2 * 10**9)
        if (video.max_bit_rate is None) != (video.buffer_size is None):
            self.wrong(f"{at}.max_bit_rate", "and buffer_size need each other")
        if None not in (video.bit_rate, video.max_bit_rate):
            assert video.bit_rate is not None
            assert video.max_bit_rate is not None
            if video.max_bit_rate < video.bit_rate:
                self.wrong(f"{at}.max_bit_rate", "is below bit_rate")
        if codec is not None and video.max_bit_rate is not None:
            has_rate = video.bit_rate is not None
            self._sentence(
                f"{at}.max_bit_rate", formats.check_max_bit_rate(codec, has_bit_rate=has_rate)
            )
        self.within(f"{at}.gop", video.gop, 1, 10_000, " frames")
        most = self.bounds.most_frame_rate
        if video.frame_rate is not None and not 0 < video.frame_rate <= most:
            self.wrong(f"{at}.frame_rate", f"must be above 0 and at most {most}")

    def _audio(self, audio: AudioEncoding, at: str, container: formats.Container | None) -> None:
        details = ("bit_rate", "sample_rate", "channels")
        given = [name for name in details if getattr(audio, name) is not None]
        if audio.codec in (None, AudioCodec.COPY, AudioCodec.NONE):
            for name in given:
                self.wrong(f"{at}.{name}", "needs the codec AAC or OPUS")
            return
        codec = formats.AudioCodec[audio.codec.name]
        if container is not None:
            self._sentence(f"{at}.codec", formats.check_audio_codec(codec, container))
        self.within(f"{at}.bit_rate", audio.bit_rate, 8_000, 1_000_000)
        if audio.sample_rate is not None:
            self._sentence(f"{at}.sample_rate", formats.check_sample_rate(codec, audio.sample_rate))
        if audio.channels is not None:
            self._sentence(f"{at}.channels", formats.check_channels(audio.channels))

    def _sentence(self, at: str, sentence: str | None) -> None:
        if sentence is not None:
            self.wrong(at, f"cannot be taken: {sentence.rstrip('.')}")

    def _user_data(self, at: str, text: str | None) -> None:
        if text is None:
            return
        size = len(text.encode())
        if size > 512:
            self.wrong(at, f"has {size} bytes; at most 512 are taken")
            return
        try:
            json.loads(text, parse_constant=_no_json)
        except (ValueError, RecursionError):
            self.wrong(at, "is not JSON")


def _no_json(constant: str) -> None:
    # Python reads NaN and the infinities, which no other parser of JSON takes.
    raise ValueError(constant)


def _held(container: formats.Container | None) -> list[formats.VideoCodec]:
    """The codecs that video in a container may turn out to be encoded to."""
    return [
        codec
        for codec in formats.VideoCodec
        if container is None or codec.value in formats.VIDEO_IN[container]
    ]


def encodes(output: Output) -> bool:
    """Whether an output asks for what only encoding can give."""
    asked = output.video is not None and output.video != VideoEncoding()
    return asked or output.width is not None or output.height is not None
