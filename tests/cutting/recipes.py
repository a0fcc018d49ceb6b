"""The clips to cut: which kinds there are, a small set that has every pair of kinds, making one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

from tests.clips import AudioTrack, make_clip
from tests.cutting.noise import noise
from tests.cutting.pattern import SIZE, picture

CODECS = ("h264", "hevc")
GOPS = (1, 12, 50, 250, 0)
"""Frames from key frame to key frame; 0: only the first frame is one."""
REORDERINGS = ("0", "2", "3", "7", "pyramid")
"""B-frames in a row; a pyramid has three, of which one is a reference."""
CONTAINERS = ("mp4", "mov", "mkv", "ts", "fmp4")
RATES = ("24", "25", "30000/1001", "60000/1001", "variable")
STYLES = ("plain", "slices", "adaptive", "entropy", "deep")
"""slices: four in each picture for H.264; for HEVC rows of small blocks with entry points, as x265
writes broken slices at this size. adaptive: B-frames where the encoder likes them. entropy: CAVLC
for H.264, leading pictures that can be decoded (RADL) for HEVC. deep: 10 bits."""
AUDIO = {
    "mp4": ("aac", "aac", "opus", "flac", "ac3", "none"),
    "fmp4": ("aac", "aac", "opus", "ac3", "none"),
    "mov": ("aac", "pcm_s16le", "ac3", "none"),
    "mkv": ("aac", "opus", "flac", "pcm_s16le", "ac3", "none"),
    "ts": ("aac", "aac", "ac3", "none"),
}

_FRAMES = {1: 36, 12: 64, 50: 130, 250: 280, 0: 90}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One clip of the matrix."""

    codec: str
    is_open: bool
    reordering: str
    gop: int
    container: str
    rate: str
    style: str
    audio: str
    sample_rate: int = 48_000

    @property
    def name(self) -> str:
        kind = "open" if self.is_open else "closed"
        gop = f"gop{self.gop}" if self.gop else "onekey"
        b = self.reordering if self.reordering == "pyramid" else f"b{self.reordering}"
        rate = str(self.rate).replace("/", ":")
        audio = self.audio if self.sample_rate == 48_000 else f"{self.audio}@{self.sample_rate}"
        return f"{self.codec}-{kind}-{b}-{gop}-{self.container}-{rate}-{self.style}-{audio}"

    @property
    def is_constant(self) -> bool:
        return self.rate != "variable"

    @property
    def frames(self) -> int:
        return _FRAMES.get(self.gop, 64)

    def make(self, folder: Path) -> Path:
        """Write the clip into a folder, where it is not there yet."""
        ending = "mp4" if self.container == "fmp4" else self.container
        path = folder / f"{self.name.replace(':', '_')}.{ending}"
        if path.exists():
            return path
        bframes = 3 if self.reordering == "pyramid" else int(self.reordering)
        gop = self.gop or 9999
        deep = self.style == "deep"
        pixels = "yuv420p10le" if deep else "yuv420p"
        options = _x264(self, bframes, gop) if self.codec == "h264" else _x265(self, bframes, gop)
        times, base = None, None
        if not self.is_constant:
            times, base = irregular(self.frames, self.gop), Fraction(1, 1000)
        tracks = []
        if self.audio != "none":
            tracks.append(position_track(self.audio, self.sample_rate))
        fragments = "frag_keyframe+delay_moov+default_base_moof"
        partial = path.with_name(f"partial-{path.name}")
        make_clip(
            partial,
            codec="libx264" if self.codec == "h264" else "libx265",
            frames=self.frames,
            rate=Fraction(30) if not self.is_constant else Fraction(self.rate),
            size=SIZE,
            gop=gop,
            bframes=bframes,
            times=times,
            time_base=base,
            pixel_format=pixels,
            options=options,
            audio=tracks,
            picture=picture,
            container_options={"movflags": fragments} if self.container == "fmp4" else None,
        )
        partial.rename(path)
        return path


def position_track(codec: str, sample_rate: int = 48_000) -> AudioTrack:
    """A track of the noise that tells its place."""
    known = noise(sample_rate)
    # FFmpeg's AAC encoder replaces noise by other noise of the same energy, unless told not to.
    options = {"b": "128k", "aac_pns": "0"} if codec == "aac" else {"b": "192k"}
    return AudioTrack(
        codec="libopus" if codec == "opus" else codec,
        sample_rate=sample_rate,
        layout="mono",
        wave=lambda first, last: known[first:last],
        options=options if codec in ("aac", "opus", "ac3") else None,
    )


def irregular(frames: int, seed: int) -> list[int]:
    """Presentation times in milliseconds whose steps vary from 10 to 120."""
    dice = random.Random(seed)
    times = [0]
    for _ in range(frames - 1):
        times.append(times[-1] + dice.choice((10, 17, 33, 33, 33, 34, 40, 50, 120)))
    return times


def _x264(recipe: Recipe, bframes: int, gop: int) -> dict[str, str]:
    settings = {
        "keyint": gop,
        "min-keyint": gop,
        "open-gop": int(recipe.is_open),
        "scenecut": 0,
        "bframes": bframes,
        "b-adapt": 1 if recipe.style == "adaptive" else 0,
        "b-pyramid": "normal" if recipe.reordering == "pyramid" else "none",
        "slices": 4 if recipe.style == "slices" else 1,
        "cabac": 0 if recipe.style == "entropy" else 1,
        "threads": 1,
    }
    if recipe.style == "adaptive":
        settings["b-pyramid"] = "normal"
    joined = ":".join(f"{name}={value}" for name, value in settings.items())
    return {"preset": "veryfast", "crf": "23", "x264-params": joined}


def _x265(recipe: Recipe, bframes: int, gop: int) -> dict[str, str]:
    settings: dict[str, int | str] = {
        "keyint": gop,
        "min-keyint": gop,
        "open-gop": int(recipe.is_open),
        "scenecut": 0,
        "bframes": bframes,
        "b-adapt": 2 if recipe.style == "adaptive" else 0,
        "b-pyramid": int(recipe.reordering == "pyramid" or recipe.style == "adaptive"),
        "radl": min(2, bframes)
        if recipe.style == "entropy" and not recipe.is_open and gop > 1
        else 0,
        "rc-lookahead": 20,
        "log-level": "error",
        "pools": "none",
        "frame-threads": 1,
    }
    if recipe.style == "slices":
        settings.update({"ctu": 16, "max-tu-size": 16, "wpp": 1, "pools": 1})
    joined = ":".join(f"{name}={value}" for name, value in settings.items())
    return {"preset": "ultrafast", "crf": "23", "x265-params": joined}


def covering(count: int = 120, seed: int = 4) -> list[Recipe]:
    """Recipes of which the first few dozen hold every pair of kinds; the others add as many new
    triples as they can. The same ones for the same seed."""
    dice = random.Random(seed)
    missing = {2: set(_tuples(2)), 3: set(_tuples(3))}
    chosen: list[Recipe] = []
    while len(chosen) < count:
        width = 2 if missing[2] else 3
        best: tuple[int, Recipe] | None = None
        for _ in range(80):
            recipe = _random(dice)
            gain = len(missing[width].intersection(_parts(recipe, width)))
            if recipe not in chosen and (best is None or gain > best[0]):
                best = (gain, recipe)
        assert best is not None
        chosen.append(best[1])
        for size, left in missing.items():
            left.difference_update(_parts(best[1], size))
    return chosen


def _random(dice: random.Random) -> Recipe:
    container = dice.choice(CONTAINERS)
    audio = dice.choice(AUDIO[container])
    return Recipe(
        codec=dice.choice(CODECS),
        is_open=dice.choice((False, True)),
        reordering=dice.choice(REORDERINGS),
        gop=dice.choice(GOPS),
        container=container,
        rate=dice.choice(RATES),
        style=dice.choice(STYLES),
        audio=audio,
        sample_rate=48_000 if audio in ("opus", "none") else dice.choice((48_000, 48_000, 44_100)),
    )


_AXES = ("codec", "is_open", "reordering", "gop", "container", "rate", "style")


def _parts(recipe: Recipe, size: int) -> Iterator[tuple[object, ...]]:
    """The combinations of `size` kinds that a recipe holds; sound counts with the container."""
    kinds = [(axis, getattr(recipe, axis)) for axis in _AXES]
    yield from combinations(kinds, size)
    if size == 2:
        yield (("container", recipe.container), ("audio", recipe.audio))


def _tuples(size: int) -> Iterator[tuple[object, ...]]:
    values = {
        "codec": CODECS,
        "is_open": (False, True),
        "reordering": REORDERINGS,
        "gop": GOPS,
        "container": CONTAINERS,
        "rate": RATES,
        "style": STYLES,
    }
    for axes in combinations(_AXES, size):
        found: list[tuple[object, ...]] = [()]
        for axis in axes:
            found = [(*one, (axis, value)) for one in found for value in values[axis]]
        yield from found
    if size == 2:
        for container, codecs in AUDIO.items():
            for audio in set(codecs):
                yield (("container", container), ("audio", audio))
