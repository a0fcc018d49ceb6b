"""PySceneDetect's detectors, built from our settings and asked for frames instead of timecodes."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from fractions import Fraction
from typing import Any

from reelsplit_server.media.bgr import Picture
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.metrics import Measured, Metrics
from reelsplit_server.media.pyscenedetect import (
    AdaptiveDetector,
    ContentDetector,
    FlashFilter,
    FrameTimecode,
    HashDetector,
    HistogramDetector,
    SceneDetector,
    ThresholdDetector,
    Timecode,
)
from reelsplit_server.media.shot_settings import (
    AdaptiveSettings,
    ContentSettings,
    DetectorSettings,
    FadeMethod,
    HashSettings,
    HistogramSettings,
    ThresholdSettings,
    Weights,
)


class CutFinder:
    """Shows pictures to one detector and tells at which of them a new shot begins."""

    def __init__(
        self,
        settings: DetectorSettings,
        *,
        min_shot: Fraction | None,
        time_base: Fraction,
        rate: Fraction,
        measured: Measured | None = None,
    ) -> None:
        """`rate` is the source's frames a second: the library counts frames by it. `measured`
        hears what is measured of each picture; it makes some detectors slower, and changes nothing
        in what they find.

        Raises `MediaError` with ``DETECTOR_REFUSED`` for what the library refuses.
        """
        try:
            self._detector = _build(settings, min_shot)
        except ValueError as error:
            raise MediaError(
                "DETECTOR_REFUSED", f"The detector refuses its settings: {error}."
            ) from error
        self._metrics: Metrics | None = None
        if measured is not None:
            names = self._detector.get_metrics()
            self._metrics = Metrics(names, self._detector.event_buffer_length, measured)
            self._detector.stats_manager = self._metrics
        self._base, self._rate = time_base, rate
        self._ticks = array("q")
        self._last: FrameTimecode | None = None

    def look(self, ticks: int, picture: Picture) -> list[int]:
        """Show the next picture, `ticks` after the source's first frame.

        Returns the cuts that are certain by now, as numbers of pictures shown before or now,
        counted from 0. Detectors may answer many pictures late, but never out of order.
        """
        position = FrameTimecode(Timecode(pts=ticks, time_base=self._base), fps=self._rate)
        self._ticks.append(ticks)
        self._last = position
        if self._metrics is not None:
            self._metrics.show(ticks)
        if isinstance(self._detector, ThresholdDetector):
            return self._look_for_fade(self._detector, position, picture)
        return self._numbers(self._detector.process_frame(position, picture))

    def finish(self) -> list[int]:
        """The cuts that only the end of the source makes certain."""
        if self._metrics is not None:
            self._metrics.finish()
        if self._last is None:
            return []
        return self._numbers(self._detector.post_process(self._last))

    def _look_for_fade(
        self, detector: ThresholdDetector, position: FrameTimecode, picture: Picture
    ) -> list[int]:
        """As `look`. This detector computes its cut from frame numbers at the average rate; the
        same sum over real frame numbers is right for variable rates, too."""
        faded_out = detector.last_fade["frame"]
        if not detector.process_frame(position, picture):
            return []
        now = len(self._ticks) - 1
        since = self._number(faded_out)
        return [since + round((now - since) * (1.0 + detector.fade_bias) / 2.0)]

    def _numbers(self, cuts: list[FrameTimecode]) -> list[int]:
        return [self._number(cut) for cut in cuts]

    def _number(self, position: FrameTimecode) -> int:
        return bisect_left(self._ticks, position.pts)


def _build(settings: DetectorSettings, min_shot: Fraction | None) -> SceneDetector:
    # The library takes a float as seconds and an int as frames.
    common: dict[str, Any] = {"min_scene_len": None if min_shot is None else float(min_shot)}
    match settings:
        case AdaptiveSettings():
            return AdaptiveDetector(
                **_given(
                    common,
                    adaptive_threshold=settings.threshold,
                    min_content_val=settings.min_content_val,
                    window_width=settings.window_width,
                    luma_only=settings.luma_only,
                    weights=_weights(settings.weights),
                    kernel_size=settings.kernel_size,
                )
            )
        case ContentSettings():
            return ContentDetector(
                **_given(
                    common,
                    threshold=settings.threshold,
                    luma_only=settings.luma_only,
                    weights=_weights(settings.weights),
                    kernel_size=settings.kernel_size,
                    filter_mode=_filter_mode(settings.suppresses),
                )
            )
        case ThresholdSettings():
            return ThresholdDetector(
                **_given(
                    common,
                    threshold=settings.threshold,
                    fade_bias=settings.fade_bias,
                    add_final_scene=settings.add_final_scene,
                    method=_method(settings.method),
                    min_out_length=None if settings.min_out is None else float(settings.min_out),
                )
            )
        case HashSettings():
            return HashDetector(
                **_given(
                    common,
                    threshold=settings.threshold,
                    size=settings.size,
                    lowpass=settings.lowpass,
                )
            )
        case HistogramSettings():
            return HistogramDetector(
                **_given(common, threshold=settings.threshold, bins=settings.bins)
            )


def _given(common: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Only what was set: the rest stays at the library's defaults."""
    return {name: value for name, value in (common | values).items() if value is not None}


def _weights(weights: Weights | None) -> ContentDetector.Components | None:
    if weights is None:
        return None
    return ContentDetector.Components(
        delta_hue=weights.hue,
        delta_sat=weights.saturation,
        delta_lum=weights.luma,
        delta_edges=weights.edges,
    )


def _filter_mode(suppresses: bool | None) -> FlashFilter.Mode | None:
    if suppresses is None:
        return None
    return FlashFilter.Mode.SUPPRESS if suppresses else FlashFilter.Mode.MERGE


def _method(method: FadeMethod | None) -> ThresholdDetector.Method | None:
    return None if method is None else ThresholdDetector.Method[method.name]
