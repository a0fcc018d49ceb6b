"""How shots are to be found: our own detector, PySceneDetect's five, what is common to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

from reelsplit_server.media.detection.tuning import Footage


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each component counts in the score of a change."""

    hue: float = 1.0
    saturation: float = 1.0
    luma: float = 1.0
    edges: float = 0.0


class EffortName(StrEnum):
    """How much our own detector looks at."""

    EXACT = "exact"
    """Every frame."""
    FAST = "fast"
    """Key frames, packet sizes, and only the stretches that are in doubt."""
    NEURAL = "neural"
    """Every frame, with a neural net joined in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSettings:
    """Our own detector."""

    effort: EffortName = EffortName.EXACT
    sensitivity: float = 0.5
    """0 to 1; more finds more."""
    footage: Footage = Footage.FILM


class BorderPolicy(StrEnum):
    """Where the border between two shots lies in a gradual transition."""

    MIDDLE = "middle"
    START = "start"
    """At its first frame."""
    END = "end"
    """After its last frame."""
    DROP = "drop"
    """Its frames belong to no shot."""


# In what follows up to `ShotSettings`, None means the library's default.


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
    suppresses: bool | None = None
    """Whether cuts are suppressed until the shortest shot has passed, in place of making one of
    those that follow each other closely."""


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
    min_out: Fraction | None = None
    """Seconds: a fade that lasts shorter is none."""


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
"""PySceneDetect's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotSettings:
    detector: OwnSettings | DetectorSettings = field(default_factory=OwnSettings)
    min_shot: Fraction | None = None
    """Seconds; None is the detector's default: none for our own, 15 frames for PySceneDetect's."""
    max_shot: Fraction | None = None
    """Seconds; longer shots are split into the fewest equal parts that are not longer."""
    policy: BorderPolicy = BorderPolicy.MIDDLE
    """For our own detector; PySceneDetect's know only cuts."""
    downscale: int | None = None
    """Frames are analysed at this fraction of their size; None lets the detector choose by the
    size, 1 is the full size."""
    crop: tuple[int, int, int, int] | None = None
    """Left, top, width, height in pixels of the coded picture: the only part looked at."""
    skip_letterbox: bool | None = None
    """Whether black bars are left out; None where they are certain. For our own detector."""
    start: Fraction | None = None
    """Seconds from the first presented frame: where analysis begins."""
    end: Fraction | None = None
    """Seconds from the first presented frame: frames from here on are not looked at."""
