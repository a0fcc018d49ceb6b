"""What is seen of a source is the same, byte for byte, however it is shared out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.detection import scanning, stretches, survey
from reelsplit_server.media.detection.board import LeadBoard
from reelsplit_server.media.detection.reel import Reel
from reelsplit_server.media.detection.scanning import scan_all
from tests.clips import make_clip
from tests.unit.media.broken import samples
from tests.unit.media.detection.looking import (
    EXACT,
    Looked,
    borders_of,
    by_stretches,
    helped,
    planned,
    serially,
    view_of,
)

FRAMES = 72


def moving(index: int) -> NDArray[np.uint8]:
    """A picture that is different everywhere in each frame: what leans on a wrong one shows."""
    rows, columns = np.mgrid[0:96, 0:160]
    red = (rows * 3 + columns + 7 * index) % 256
    green = (rows + columns * 2 - 5 * index) % 256
    blue = (rows * columns // 16 + 11 * index) % 256
    return np.stack((red, green, blue), axis=2).astype(np.uint8)


#: Name of the clip to how it is made.
CLIPS: dict[str, dict[str, object]] = {
    "closed.mp4": {"bframes": 2},
    "open.mp4": {"bframes": 3, "open_gop": True},
    "pyramid.mkv": {
        "bframes": 5,
        "open_gop": True,
        "options": {"x264-params": "keyint=12:min-keyint=12:open-gop=1:b-pyramid=normal:ref=4"},
    },
    "references.mp4": {"bframes": 0, "options": {"x264-params": "keyint=12:ref=8"}},
    "cra.mkv": {"codec": "libx265", "bframes": 4, "open_gop": True},
    "hevc.mp4": {"codec": "libx265", "bframes": 2, "pixel_format": "yuv420p10le"},
    "hidden.webm": {
        "codec": "libvpx-vp9",
        "options": {"lag-in-frames": "16", "auto-alt-ref": "1", "deadline": "good"},
    },
    "vp8.webm": {"codec": "libvpx", "options": {"lag-in-frames": "16", "auto-alt-ref": "1"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "crf": "40"}},
    "mpeg2.mkv": {"codec": "mpeg2video", "bframes": 2},
    "intra.mov": {"codec": "prores_ks", "gop": 1},
    "jitter.mkv": {
        "bframes": 2,
        "times": [40 * n + (7 * n) % 23 + (n > 30) * 900 for n in range(FRAMES)],
        "time_base": Fraction(1, 1000),
    },
    "late.mp4": {
        "bframes": 2,
        "times": [512 * n + 30_000 for n in range(FRAMES)],
        "time_base": Fraction(1, 12_288),
    },
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")

    def made(name: str) -> Path:
        path = folder / name
        if not path.exists():
            settings = {"gop": 12, **CLIPS[name]}
            make_clip(path, frames=FRAMES, size=(160, 96), picture=moving, **settings)  # type: ignore[arg-type]
        return path

    return made


def some_of(seed: str) -> Callable[[int], Sequence[int]]:
    """Random key frames at which stretches begin; the first always does."""

    def places(count: int) -> Sequence[int]:
        chance = random.Random(seed)
        return [0, *(n for n in range(1, count) if chance.random() < 0.6)]

    return places


@pytest.mark.parametrize("name", CLIPS)
def test_stretches_see_what_one_decoder_sees(
    clips: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = clips(name)
    whole = serially(path)
    assert len(whole.pts) == FRAMES
    assert whole.numbers == list(range(FRAMES))
    # Whatever a stretch got wrong, `mend` would put right unseen.
    monkeypatch.setattr(survey.Survey, "_mend", _not_wanted)
    for helpers in range(4):
        monkeypatch.setattr(stretches, "borders", borders_of(some_of(f"{name}{helpers}")))
        assert len(planned(path)[2]) > 1
        found = by_stretches(path, tmp_path / str(helpers), helpers)
        assert found == whole
        assert not found.seen.damaged


def _not_wanted(*_: object) -> None:
    raise AssertionError("a stretch was not trusted")


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("open.mp4", 20, 50),
        ("open.mp4", 24, 48),
        ("closed.mp4", 5, 6),
        ("pyramid.mkv", 17, 71),
        ("hidden.webm", 30, None),
        ("jitter.mkv", None, 40),
    ],
)
def test_a_part_is_seen_as_by_one_decoder(
    clips: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    low: int | None,
    high: int | None,
) -> None:
    path = clips(name)
    times = serially(path).pts
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    monkeypatch.setattr(survey.Survey, "_mend", _not_wanted)
    start = None if low is None else times[low] - 1
    end = None if high is None else times[high]
    found = by_stretches(path, tmp_path / "share", 1, low=start, high=end, first_frame=low or 0)
    assert found == serially(path, start, end)
    assert found.numbers == list(range(low or 0, high or FRAMES))


def test_frame_threads_change_nothing(clips: Callable[[str], Path], tmp_path: Path) -> None:
    for name in ("open.mp4", "cra.mkv", "hidden.webm"):
        whole = serially(clips(name))
        assert by_stretches(clips(name), tmp_path, threads=3) == whole


# --- What cannot be trusted -------------------------------------------------------------------


def test_key_frames_that_need_what_is_before_are_no_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "refresh.mkv"
    make_clip(
        path,
        frames=FRAMES,
        size=(160, 96),
        picture=moving,
        options={"x264-params": "keyint=12:intra-refresh=1:bframes=0"},
    )
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    assert len(planned(path)[2]) > 3
    assert by_stretches(path, tmp_path / "share", 2) == serially(path)


@pytest.mark.parametrize(
    "name", ["closed.mp4", "open.mp4", "cra.mkv", "hidden.webm", "vp8.webm", "av1.mp4", "mpeg2.mkv"]
)
def test_a_packet_is_no_entry_because_its_file_says_so(
    clips: Callable[[str], Path], name: str
) -> None:
    facts, _, _ = planned(clips(name))
    with clips(name).open("rb") as file, Reel(file, view_of(facts)) as reel:
        packets = list(reel.enter(None, Damage()) or ())
        assert packets
        real = [packet.is_keyframe for packet in packets]
        for packet in packets:
            packet.is_keyframe = True
        assert [reel.begins_cleanly(packet) for packet in packets] == real


def lying(path: Path, clip: Path) -> Path:
    """An MP4 whose index calls two more frames key frames."""
    data = clip.read_bytes()
    at = data.index(b"stss")
    count = int.from_bytes(data[at + 8 : at + 12], "big")
    keys = [int.from_bytes(data[at + 12 + 4 * n : at + 16 + 4 * n], "big") for n in range(count)]
    # In place of real ones, so that no box changes its size.
    keys[1], keys[3] = keys[1] - 5, keys[3] + 3
    made = b"".join(key.to_bytes(4, "big") for key in keys)
    path.write_bytes(data[: at + 12] + made + data[at + 12 + len(made) :])
    return path


def test_an_index_that_lies_changes_nothing(
    clips: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lying(tmp_path / "lying.mp4", clips("references.mp4"))
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    for helpers in range(3):
        found = by_stretches(path, tmp_path / str(helpers), helpers)
        assert found == serially(path)
        assert not found.seen.damaged


def broken(path: Path, clip: Path, packet: int) -> Path:
    """The clip with noise in one packet, counted in decoding order."""
    data = bytearray(clip.read_bytes())
    place, size, _ = samples(clip)[packet]
    noise = random.Random(0).randbytes(size)
    data[place + 8 : place + size] = noise[8:]
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "name", ["closed.mp4", "open.mp4", "pyramid.mkv", "cra.mkv", "hidden.webm"]
)
@pytest.mark.parametrize("packet", [0, 12, 24, 25, 29])
def test_damage_is_told_and_costs_no_more_than_one_decoder_loses(
    clips: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    packet: int,
) -> None:
    path = broken(tmp_path / name, clips(name), packet)
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    alone = by_stretches(path, tmp_path / "0")
    assert by_stretches(path, tmp_path / "2", 2) == alone
    whole = serially(path)
    assert alone.pts == whole.pts
    assert alone.seen.damaged == whole.seen.damaged
    # How a decoder conceals what it lacks hangs on more than its references.
    differing = np.flatnonzero(np.any(alone.planes != whole.planes, axis=1))
    assert all(abs(frame - packet) < 14 for frame in differing)
    broke = [float(place) * 24 for place in alone.seen.places]
    assert all(abs(place - packet) < 14 for place in broke)


def test_after_many_stretches_that_cannot_be_trusted_one_decoder_goes_on(
    clips: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clips("open.mp4")
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    monkeypatch.setattr(survey, "_MOST_FLAWED", 1)
    conclude = scanning.Passage.conclude

    def doubting(passage: scanning.Passage, pts: list[int], end: int | None) -> str | None:
        number = passage._stretch.number
        return "no reason" if number in (1, 2, 4) else conclude(passage, pts, end)

    monkeypatch.setattr(scanning.Passage, "conclude", doubting)
    whole = serially(path)
    alone: list[int | None] = []
    go_on = survey.Survey._go_on

    def noting(self: survey.Survey, entry: int | None, *arguments: Any, **more: Any) -> None:
        alone.append(entry)
        go_on(self, entry, *arguments, **more)

    monkeypatch.setattr(survey.Survey, "_go_on", noting)
    for helpers in range(3):
        assert by_stretches(path, tmp_path / str(helpers), helpers) == whole
    # Each time from the first stretch on, the last that could be trusted.
    assert alone == [None] * 3


# --- Helpers that go wrong --------------------------------------------------------------------


def test_what_a_dead_helper_had_begun_is_done_by_the_lead(
    clips: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clips("open.mp4")
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    facts, _, plan = planned(path)
    board = LeadBoard(tmp_path / "share", view_of(facts), plan)
    for number in (0, 2, 3):
        # Begun, and let go of without a result, as the system does for who dies.
        claim = board._try(number, again=False)
        assert claim is not None
        claim.release()
    looked = Looked()
    with path.open("rb") as file, helped(path, tmp_path / "share", 2):
        seen = survey.Survey(file, view_of(facts), EXACT, looked.parts.append)
        looked.seen = seen.by_stretches(plan, 0, board)
    board.close()
    assert looked == serially(path)


@pytest.mark.parametrize("junk", [b"", b"junk" * 100, b"\0" * 4000])
def test_what_makes_no_sense_is_seen_again(
    clips: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, junk: bytes
) -> None:
    path = clips("open.mp4")
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    facts, _, plan = planned(path)
    board = LeadBoard(tmp_path / "share", view_of(facts), plan)
    (tmp_path / "share" / "0.seen").write_bytes(junk)
    (tmp_path / "share" / "3.seen").write_bytes(junk)
    looked = Looked()
    with path.open("rb") as file:
        seen = survey.Survey(file, view_of(facts), EXACT, looked.parts.append)
        looked.seen = seen.by_stretches(plan, 0, board)
    board.close()
    assert looked == serially(path)


def test_what_another_worker_made_up_is_seen_again(
    clips: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = clips("open.mp4")
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    facts, _, plan = planned(path)
    board = LeadBoard(tmp_path / "share", view_of(facts), plan)
    claim = board._try(2, again=False)
    assert claim is not None
    # Of another stretch.
    with path.open("rb") as file, Reel(file, view_of(facts)) as reel:
        board.put(claim, scan_all(reel, plan[1], lambda: None))
    claim.release()
    looked = Looked()
    with path.open("rb") as file:
        seen = survey.Survey(file, view_of(facts), EXACT, looked.parts.append)
        looked.seen = seen.by_stretches(plan, 0, board)
    board.close()
    assert looked == serially(path)
