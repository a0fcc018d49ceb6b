"""The fast effort finds what the exact one does where an encoder helps, and looks at less."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import PictureType
from numpy.typing import NDArray

from reelsplit_server.media.detection import fast, stretches
from reelsplit_server.media.detection.boundary import Boundary
from reelsplit_server.media.detection.effort import Scanned
from reelsplit_server.media.detection.efforts import effort_of
from reelsplit_server.media.detection.fast import Fast
from reelsplit_server.media.detection.fast_slices import is_intra
from reelsplit_server.media.detection.fast_surroundings import Surroundings
from reelsplit_server.media.detection.index import read_index
from reelsplit_server.media.detection.stretches import plan_stretches
from reelsplit_server.media.detection.survey import Survey
from reelsplit_server.media.packet_view import nal_width
from reelsplit_server.media.probe import probe
from reelsplit_server.media.shot_settings import EffortName, OwnSettings
from tests.clips import make_clip
from tests.unit.media.detection.looking import borders_of, view_of
from tests.unit.media.detection.scenes import scene
from tests.unit.media.reordering import leave_untold

FAST = OwnSettings(effort=EffortName.FAST)
SIZE = (192, 108)
SHOTS = [40, 78, 121, 126, 180, 222]
"""One of 5 frames, in which x264 puts no key frame but an I-frame."""
FRAMES = 260
TICKS = 512
"""Of a clip's time base, from frame to frame."""
WIPE = 12

#: As x264's defaults, for shorter shots.
DEFAULTS = {"x264-params": "keyint=120:min-keyint=12:scenecut=40:bframes=3", "sc_threshold": "40"}
CLIPS: dict[str, dict[str, object]] = {
    "defaults.mp4": {"options": DEFAULTS},
    "defaults.mkv": {"options": DEFAULTS},
    "fixed.mp4": {"gop": 48, "bframes": 3},
    "untold.mp4": {"gop": 48, "bframes": 3},
    "pyramid.mp4": {
        "options": {
            "x264-params": "keyint=48:min-keyint=48:open-gop=1:bframes=5:b-pyramid=normal",
        }
    },
    "open.mkv": {"gop": 24, "bframes": 3, "open_gop": True},
    "cra.mkv": {"codec": "libx265", "gop": 24, "bframes": 3, "open_gop": True},
    "hevc.mp4": {"codec": "libx265", "gop": 48, "bframes": 3},
    "hidden.webm": {"codec": "libvpx-vp9", "gop": 60},
}


@lru_cache(maxsize=len(SHOTS) + 1)
def shot(number: int) -> NDArray[np.uint8]:
    """Pictures of one shot, RGB: shape (frames, height, width, 3)."""
    length = [*SHOTS, FRAMES][number] - [0, *SHOTS][number]
    small = np.rint(scene(number, length)).astype(np.uint8)
    wide = [cv2.resize(each, SIZE, interpolation=cv2.INTER_CUBIC) for each in small]
    return np.stack([cv2.cvtColor(each, cv2.COLOR_YUV2RGB) for each in wide])


def picture(number: int) -> NDArray[np.uint8]:
    place = sum(cut <= number for cut in SHOTS)
    return shot(place)[number - [0, *SHOTS][place]]


def large(number: int) -> NDArray[np.uint8]:
    return cv2.resize(picture(number), (640, 360), interpolation=cv2.INTER_LINEAR)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("fast")

    def made(name: str) -> Path:
        path = folder / name
        if not path.exists():
            make_clip(path, frames=FRAMES, size=SIZE, picture=picture, **CLIPS[name])  # type: ignore[arg-type]
            if name == "untold.mp4":
                leave_untold(path)
        return path

    return made


class Counted(io.BytesIO):
    """A file that counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def found_in(
    file: io.BufferedIOBase, settings: OwnSettings = FAST, step: int = 0
) -> tuple[list[Boundary], list[Scanned]]:
    """The boundaries, and what was seen. With `step`, what was seen is pushed in parts."""
    facts = probe(file)  # type: ignore[arg-type]
    index = read_index(file, facts)  # type: ignore[arg-type]
    assert index is not None
    parts: list[Scanned] = []
    effort = effort_of(settings, rate=Fraction(24))
    survey = Survey(file, view_of(facts), effort, parts.append)  # type: ignore[arg-type]
    seen = survey.by_stretches(plan_stretches(index, facts.video, None, None), 0, None)
    assert not seen.damaged
    assert seen.frames == FRAMES
    seeker = effort.seeker()
    found = [each for part in parts for each in seeker.push(part)]
    return found + seeker.finish(), parts


def looked_at(parts: Sequence[Scanned]) -> int:
    return sum(len(strip) for part in parts for strip in part.strips)


@pytest.mark.parametrize("name", CLIPS)
def test_finds_each_cut_exactly(clips: Callable[[str], Path], name: str) -> None:
    with clips(name).open("rb") as file:
        found, parts = found_in(file)
    assert [each.start for each in found] == SHOTS
    if name.startswith("defaults"):
        assert looked_at(parts) < 0.6 * FRAMES


def test_what_is_reordered_untold_is_decoded_once(
    clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Scanned:
        raise AssertionError("a group did not come out as it should")

    monkeypatch.setattr(fast, "scan_all", refused)
    with clips("untold.mp4").open("rb") as file:
        found, _ = found_in(file)
    assert [each.start for each in found] == SHOTS


@pytest.mark.parametrize("name", CLIPS)
def test_stretches_make_no_difference(
    clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    chance = random.Random(name)
    seen = []
    for share in (0.0, 0.5, 1.0):

        def places(count: int, share: float = share) -> Sequence[int]:
            return [0, *(n for n in range(1, count) if chance.random() < share)]

        monkeypatch.setattr(stretches, "borders", borders_of(places))
        with clips(name).open("rb") as file:
            found, parts = found_in(file)
        strips = [strip for part in parts for strip in part.strips]
        numbers = [n for strip in strips for n in range(strip.first, strip.stop)]
        planes = np.concatenate([strip.y.reshape(len(strip), -1) for strip in strips])
        times = np.concatenate([part.pts for part in parts])
        seen.append((found, numbers, planes.tobytes(), times.tobytes()))
    assert seen[0] == seen[1] == seen[2]


def wiped(number: int) -> NDArray[np.uint8]:
    """As `picture`, but each shot wipes the one before away, within some frames."""
    image = picture(number).copy()
    for cut in SHOTS:
        if cut <= number < cut + WIPE:
            border = SIZE[0] * (number - cut + 1) // (WIPE + 1)
            image[:, border:] = picture(cut - 1)[:, border:]
    return image


def test_finds_wipes_that_no_key_frame_tells_of(tmp_path: Path) -> None:
    path = tmp_path / "wipes.mp4"
    make_clip(path, frames=FRAMES, size=SIZE, picture=wiped, options=DEFAULTS)
    with path.open("rb") as file:
        found, _ = found_in(file)
    assert len(found) == len(SHOTS)
    assert all(cut - 1 <= each.middle <= cut + WIPE for cut, each in zip(SHOTS, found, strict=True))


@pytest.mark.parametrize("late", [0, 100])
@pytest.mark.parametrize("each", [False, True], ids=["whole", "each"])
def test_where_much_happens_it_is_exact(
    clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, late: int, each: bool
) -> None:
    """From one frame on, everywhere; the source seen at once, or group by group."""

    def are_eventful(self: Surroundings, pts: int, *, watched: bool) -> bool:
        return pts >= late * TICKS

    monkeypatch.setattr(Surroundings, "are_eventful", are_eventful)
    monkeypatch.setattr(
        stretches, "borders", borders_of(lambda count: range(count) if each else [0])
    )
    with clips("defaults.mp4").open("rb") as file:
        exact, whole = found_in(file, OwnSettings())
        found, parts = found_in(file)
    assert [one for one in found if one.start > 130] == [one for one in exact if one.start > 130]
    seen = {number for part in parts for strip in part.strips for number in strip.pts.tolist()}
    assert {pts for part in whole for pts in part.pts.tolist() if pts >= 126 * TICKS} <= seen
    assert (len(seen) == FRAMES) == (late == 0)


def test_reads_little_of_what_it_believes(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    # Packets so large that what is read around them does not count, and alike.
    options = {"x264-params": f"{DEFAULTS['x264-params']}:qp=8", "sc_threshold": "40"}
    make_clip(path, frames=FRAMES, size=(640, 360), picture=large, options=options)
    data = path.read_bytes()
    read = []
    for settings in (OwnSettings(), FAST):
        file = Counted(data)
        found, _ = found_in(file, settings)
        assert [each.start for each in found] == SHOTS
        read.append(file.count)
    assert read[1] < 0.75 * read[0]


@pytest.mark.parametrize("name", ["defaults.mp4", "fixed.mp4"])
def test_what_cannot_be_decoded_is_seen_again(clips: Callable[[str], Path], name: str) -> None:
    data = bytearray(clips(name).read_bytes())
    with av.open(str(clips(name))) as container:
        broken = [p for p in container.demux(video=0) if p.size and p.is_keyframe][1]
    assert broken.pos is not None
    data[broken.pos + 40 : broken.pos + broken.size] = bytes(broken.size - 40)
    file = io.BytesIO(data)
    facts = probe(file)
    index = read_index(file, facts)
    assert index is not None
    parts: list[Scanned] = []
    effort = effort_of(FAST, rate=Fraction(24))
    assert isinstance(effort, Fast)
    survey = Survey(file, view_of(facts), effort, parts.append)
    seen = survey.by_stretches(plan_stretches(index, facts.video, None, None), 0, None)
    assert seen.damaged
    seeker = effort.seeker()
    found = [each for part in parts for each in seeker.push(part)] + seeker.finish()
    assert {126, 180, 222} <= {each.start for each in found}


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_kinds_of_pictures_are_read(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "clip.mp4"
    make_clip(path, codec=codec, frames=40, gop=10, bframes=2, size=SIZE)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        width, name = nal_width(stream), stream.codec_context.codec.canonical_name
        told = {
            packet.pts: is_intra(name, bytes(packet), width)
            for packet in container.demux(stream)
            if packet.size
        }
    with av.open(str(path)) as container:
        shown = {frame.pts: frame.pict_type == PictureType.I for frame in container.decode(video=0)}
    assert told == shown


def test_broken_pictures_have_no_kind() -> None:
    assert is_intra("h264", b"", 4) is None
    assert is_intra("h264", b"\x00\x00\x00\x09\x41", 4) is None
    assert is_intra("hevc", b"\x00\x00\x00\x02\x02\x01", 4) is None
    assert is_intra("vp9", b"\x82", 0) is None
