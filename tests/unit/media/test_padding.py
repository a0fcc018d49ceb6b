"""What the header of a written Matroska file says of the sound that is left out."""

from __future__ import annotations

import zlib
from fractions import Fraction
from pathlib import Path

import av
import pytest

from reelsplit_server.media.ebml import elements
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.matroska_header import (
    DELAY,
    ENTRY,
    INFO,
    PRIVATE,
    SEGMENT,
    TRACKS,
    Delay,
    set_delays,
)
from reelsplit_server.media.plan import CutMode
from tests.unit.media.rendering import cut
from tests.unit.media.sound import Sound, make_sounding

MARK = Fraction(1, 5)


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.6 s from the middle of a film, with two tracks of Opus and one of FLAC."""
    folder = tmp_path_factory.mktemp("padding")
    opus = Sound(codec="libopus")
    make_sounding(folder / "s.mkv", opus, Sound(codec="flac"), opus, seconds=2)
    out = folder / "o.mkv"
    cut(folder / "s.mkv", out, 1, Fraction(8, 5), mode=CutMode.AUTO)
    return out


def header(path: Path) -> dict[int, bytes]:
    """The content of each element before the first cluster."""
    data = path.read_bytes()
    found = {}
    for element, start, end in elements(data):
        if element == SEGMENT:
            for inner, low, high in elements(data[start:end]):
                found[inner] = data[start + low : start + high]
    return found


def test_opus_says_its_delay_in_one_way(segment: Path) -> None:
    """Decoders refuse it else."""
    tracks = header(segment)[TRACKS]
    seen = []
    for entry, start, end in elements(tracks):
        if entry != ENTRY:
            continue
        parts = {e: tracks[start + a : start + b] for e, a, b in elements(tracks[start:end])}
        if parts[0x86] == b"A_OPUS":
            delay = Fraction(int.from_bytes(parts[DELAY], "big"), 10**9)
            skip = int.from_bytes(parts[PRIVATE][10:12], "little")
            assert abs(delay - Fraction(skip, 48_000)) < Fraction(1, 10**8)
            assert Fraction(8, 100) <= delay < Fraction(1, 10)
            seen.append(delay)
    assert len(seen) == 2


def test_checksums_and_lengths_are_right(segment: Path) -> None:
    parts = header(segment)
    for element in (INFO, TRACKS, 0x1254C367):
        kind, start, end = next(elements(parts[element]))
        assert (kind, end - start) == (0xBF, 4)
        checksum = int.from_bytes(parts[element][start:end], "little")
        assert zlib.crc32(parts[element][end:]) == checksum
    with av.open(str(segment)) as container:
        assert container.duration == 600_000
        for stream in container.streams:
            assert stream.metadata["DURATION"].startswith("00:00:00.600")


def test_a_header_that_is_not_as_expected_has_a_reason(segment: Path, tmp_path: Path) -> None:
    delay = Delay(delay=MARK, end=Fraction(1))
    path = tmp_path / "copy.mkv"
    data = segment.read_bytes()
    # Its marks are gone already; then cut off, and no Matroska at all.
    for content in (data, data[:60], data[:300], b"", b"\0" * 4000, b"\x18\x53\x80\x67\x81" * 99):
        path.write_bytes(content)
        with pytest.raises(MediaError) as caught:
            set_delays(path, MARK, [delay])
        assert caught.value.reason == "CONTAINER_REFUSED"
        assert path.read_bytes() == content
