"""How shots are to be found: PySceneDetect's five detectors and what is common to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each component counts in the score of a change."""

    hue: float = 1.0
    saturation: float = 1.0
    luma: float = 1.0
    edges: float = 0.0


# In all that follows None means the library's default.


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveSettings:
    """Cuts where a change stands out among those of the frames around it."""

    threshold: float | None = None
    """The least ratio of a frame's change to the mean of its neighbours'."""
    min_content_val: float | None = None
    """The least change itself, 0 to 255."""
    window_width: int | None = None
    """Neighbours on each side, 1 or more frames."""
    luma_only: bool | None = None
    weights: Weights | None = None
    kernel_size: int | None = None
    """Pixels by which edges are widened: odd, 3 or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentSettings:
    """Cuts where the mean change of colour between two frames is large."""

    threshold: float | None = None
    """The least change, 0 to 255."""
    luma_only: bool | None = None
    weights: Weights | None = None
    kernel_size: int | None = None
    """Pixels by which edges are widened: odd, 3 or more."""


class FadeMethod(StrEnum):
    FLOOR = "floor"
    """A fade is where the picture is darker than the threshold."""
    CEILING = "ceiling"
    """A fade is where the picture is at least as bright as the threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSettings:
    """Cuts between fades to black (or white) and back."""

    threshold: float | None = None
    """Mean of all pixel values, 0 to 255; the library cuts the fraction off."""
    fade_bias: float | None = None
    """Where in the dark stretch to cut: -1 at its start, 0 in the middle, 1 at its end."""
    add_final_scene: bool | None = None
    """Whether a fade at the end of the source makes a shot of its own."""
    method: FadeMethod | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HashSettings:
    """Cuts where the perceptual hashes of two frames are far apart."""

    threshold: float | None = None
    """The least distance, 0 to 1."""
    size: int | None = None
    """Low frequencies kept in each direction."""
    lowpass: int | None = None
    """The share of frequencies that is kept is one in this many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramSettings:
    """Cuts where the luma histograms of two frames differ."""

    threshold: float | None = None
    """The least difference, 0 to 1."""
    bins: int | None = None


DetectorSettings = (
    AdaptiveSettings | ContentSettings | ThresholdSettings | HashSettings | HistogramSettings
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotSettings:
    detector: DetectorSettings = field(default_factory=AdaptiveSettings)
    min_shot: Fraction | None = None
    """Seconds; None is the library's default of 15 frames."""
    max_shot: Fraction | None = None
    """Seconds; longer shots are split into the fewest equal parts that are not longer."""
    downscale: int | None = None
    """Frames are analysed at this fraction of their size; None lets the library choose by the
    size, 1 is the full size."""
    crop: tuple[int, int, int, int] | None = None
    """Left, top, width, height in pixels of the coded picture: the only part looked at."""
    start: Fraction | None = None
    """Seconds from the first presented frame: where analysis begins."""
    end: Fraction | None = None
    """Seconds from the first presented frame: frames from here on are not looked at."""
