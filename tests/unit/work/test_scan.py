"""Finding shots in a unit, and helping with it: what is told, and what is read."""

from __future__ import annotations

import threading
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from reelsplit import shots
from reelsplit.types.spec import Input, JobSpec, ShotDetection
from reelsplit_server.app.resolution import resolve
from reelsplit_server.media.detection import stretches
from reelsplit_server.storage.grants import FileGrant, SourceGrant
from reelsplit_server.storage.ranges import RangeReader
from reelsplit_server.work import analyse, scan
from reelsplit_server.work.channel import Channel
from reelsplit_server.work.detecting import damage
from reelsplit_server.work.units import Analyse, PlanDone, Planned, Scan, ScanDone, Sharing
from tests.clips import make_clip
from tests.unit.app.specs import BOUNDS
from tests.unit.media.detection.looking import borders_of
from tests.unit.storage.site import Site, file_answer, grant_for

FRAMES = 144


def noise(index: int) -> NDArray[np.uint8]:
    """Pictures that make a large file: one scene under noise, and another from the middle on."""
    scene = np.random.default_rng(FRAMES + 2 * index // FRAMES).integers(0, 128, (9, 16, 3))
    shown = np.kron(scene, np.ones((20, 20, 1))).astype(np.uint8)
    grain: NDArray[np.uint8] = np.random.default_rng(index).integers(
        0, 128, (180, 320, 3), np.uint8
    )
    return shown + grain


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    make_clip(
        path,
        frames=FRAMES,
        gop=12,
        bframes=2,
        size=(320, 180),
        picture=noise,
        container_options={"movflags": "faststart"},
    )
    assert path.stat().st_size > 10**6
    return path


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch for every third key frame."""
    monkeypatch.setattr(stretches, "borders", borders_of(lambda count: range(0, count, 3)))


class Heard(list[Any]):
    """What a unit tells; whoever `helps` does so from when the work is shared on."""

    def __init__(self, helps: Any = None) -> None:
        super().__init__()
        self._helps = helps
        self.helpers: list[threading.Thread] = []

    def tell(self, report: Any) -> None:
        self.append(report)
        if isinstance(report, Sharing) and self._helps is not None:
            for _ in range(report.helpers):
                self.helpers.append(threading.Thread(target=self._helps, args=[report.share]))
                self.helpers[-1].start()

    def progress(self, fraction: float, frames: int) -> None:
        pass


def spec_of(path: str, mode: ShotDetection | None = None) -> JobSpec:
    return resolve(JobSpec(input=Input(uri=path), mode=mode or shots()), BOUNDS)


def found(
    folder: Path, spec: JobSpec, grant: SourceGrant, *, helpers: int = 0
) -> tuple[Heard, list[Heard]]:
    """What an analysis tells, and what those tell that help with it."""
    helped: list[Heard] = []

    def help_it(share: str) -> None:
        unit = Scan(
            job_id="1",
            spec=spec,
            pin=None,
            folder=folder,
            share=share,
            most_pixels=10**7,
            seconds=3.0,
        )
        more = True
        while more:
            heard = Heard()
            scan.run(unit, grant, cast(Channel, heard))
            helped.append(heard)
            more = heard[-1].more

    unit = Analyse(
        job_id="1",
        spec=spec,
        pin=None,
        folder=folder,
        threads=1,
        most_segments=100,
        most_pixels=10**7,
        helpers=helpers,
    )
    heard = Heard(help_it)
    analyse.run(unit, grant, cast(Channel, heard))
    for helper in heard.helpers:
        helper.join(20)
        assert not helper.is_alive()
    return heard, helped


def frames_of(heard: Heard) -> list[tuple[int, int]]:
    return [
        (segment.bounds.start_frame, segment.bounds.end_frame)
        for report in heard
        if isinstance(report, Planned)
        for segment in report.segments
        if segment.bounds is not None
    ]


def local(path: Path) -> FileGrant:
    return FileGrant(path=str(path), roots=(str(path.parent),))


def test_what_helpers_do_changes_nothing_but_who_does_it(film: Path, tmp_path: Path) -> None:
    spec = spec_of(str(film))
    alone, none = found(tmp_path, spec, local(film))
    assert not none
    assert not any(isinstance(report, Sharing) for report in alone)
    helped, turns = found(tmp_path, spec, local(film), helpers=1)
    assert frames_of(helped) == frames_of(alone) == [(0, 72), (72, FRAMES)]
    for heard in (alone, helped):
        assert isinstance(heard[-1], PlanDone)
        assert heard[-1].source.frame_count == FRAMES
        assert heard[-1].source.duration == Fraction(FRAMES, 24)
    assert [type(turn[-1]) for turn in turns] == [ScanDone] * len(turns)
    assert not turns[-1][-1].more
    assert not list(tmp_path.glob("share-*"))


def test_no_more_help_is_wanted_than_there_is_work(film: Path, tmp_path: Path) -> None:
    heard, _ = found(tmp_path, spec_of(str(film)), local(film), helpers=50)
    (sharing,) = [report for report in heard if isinstance(report, Sharing)]
    assert sharing.helpers == 3


def test_what_an_earlier_attempt_left_is_cleared_away(film: Path, tmp_path: Path) -> None:
    (tmp_path / "share-old").mkdir()
    (tmp_path / "share-old" / "3.seen").write_bytes(b"old")
    found(tmp_path, spec_of(str(film)), local(film))
    assert not list(tmp_path.glob("share-*"))


def test_a_scan_without_a_lead_ends_at_once(film: Path, tmp_path: Path) -> None:
    unit = Scan(
        job_id="1",
        spec=spec_of(str(film)),
        pin=None,
        folder=tmp_path,
        share="share-gone",
        most_pixels=10**7,
        seconds=3.0,
    )
    heard = Heard()
    # Not even the source is looked at.
    scan.run(unit, local(tmp_path / "nothing.mp4"), cast(Channel, heard))
    assert heard == [ScanDone(more=False, worked=True)]


# --- Remote sources ---------------------------------------------------------------------------


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes that each reader has fetched when it is closed."""
    counted: list[int] = []
    close = RangeReader.close

    def counting(self: RangeReader) -> None:
        if not self.closed:
            counted.append(self.fetched)
        close(self)

    monkeypatch.setattr(RangeReader, "close", counting)
    return counted


def test_a_remote_source_is_read_once(film: Path, tmp_path: Path, fetched: list[int]) -> None:
    size = film.stat().st_size
    with Site(file_answer(film.read_bytes())) as site:
        grant = grant_for(site.url(), tmp_path)
        heard, _ = found(tmp_path, spec_of(site.url()), grant)
        assert frames_of(heard) == [(0, 72), (72, FRAMES)]
        assert sum(fetched) == size
        fetched.clear()
        (tmp_path / "helped").mkdir()
        heard, turns = found(tmp_path / "helped", spec_of(site.url()), grant, helpers=1)
        assert turns
    assert frames_of(heard) == [(0, 72), (72, FRAMES)]
    # Behind each stretch some packets are read until its last frame is known.
    assert sum(fetched) <= size + 5 * 2**17


def test_of_a_part_little_more_is_read(
    film: Path, tmp_path: Path, fetched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "borders", borders_of(range))
    with Site(file_answer(film.read_bytes())) as site:
        mode = shots(start=Fraction(5, 2), end=Fraction(7, 2))
        heard, _ = found(tmp_path, spec_of(site.url(), mode), grant_for(site.url(), tmp_path))
    assert frames_of(heard) == [(60, 72), (72, 84)]
    # A sixth of it, and what the header and the first frame take.
    assert sum(fetched) < film.stat().st_size / 3


# --- Words ------------------------------------------------------------------------------------


def test_damage_is_told_with_its_places() -> None:
    assert damage("it is torn.").endswith("used: it is torn.")
    told = damage("it is torn", [Fraction(n) for n in (5, 1, 2, Fraction(5, 2), 9)])
    assert told.endswith("(from 1.000 s to 2.500 s, at 5.000 s, at 9.000 s).")
    many = damage(None, [Fraction(2 * n) for n in range(20)])
    assert many.endswith("at 14.000 s and in 12 more places).")
