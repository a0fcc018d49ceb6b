"""Corrupt H.264: every end is a named one."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from pathlib import Path
from random import Random

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelsplit_server.media.nal.bits import BrokenSyntax
from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.h264 import H264Bitstream
from reelsplit_server.media.nal.units import BrokenUnits
from tests.clips import make_clip
from tests.media import footage, real

_NAMED = (BrokenUnits, BrokenSyntax, CannotJoin)


@pytest.fixture(scope="module", params=["cabac.mp4", "cavlc.ts"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / str(request.param)
    make_clip(
        path,
        frames=26,
        size=(160, 96),
        bframes=3,
        open_gop=True,
        options={
            "x264-params": "keyint=9:min-keyint=9:open-gop=1:b-adapt=0:nal-hrd=vbr:slices=2"
            ":vbv-maxrate=900:vbv-bufsize=900:weightp=2"
            + (":cabac=0" if path.suffix == ".ts" else "")
        },
    )
    return path


def _packets(path: Path, most: int | None = None) -> tuple[bytes, list[bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = (bytes(packet) for packet in container.demux(stream) if packet.size)
        return stream.codec_context.extradata or b"", list(islice(packets, most))


def _go(extradata: bytes, packets: list[bytes]) -> int:
    """Read everything, enter wherever that can be, copy; how many packets were copied."""
    bitstream = H264Bitstream(extradata, reorder_depth=2)
    copied = 0
    entered = False
    for data in packets:
        with suppress(*_NAMED):
            access = bitstream.read(data)
            if not entered:
                bitstream.enter(access, drops_references=True)
                entered = True
            bitstream.copied(access)
            copied += 1
    with suppress(*_NAMED):
        bitstream.encoding(20)
        bitstream.adopt(extradata)
    with suppress(*_NAMED):
        bitstream.extradata(annex_b=False)
    bitstream.sets(of_encoder=False)
    return copied


def test_flipped_bits_end_in_named_errors(clip: Path) -> None:
    extradata, packets = _packets(clip)
    # From the first open entry on, to edit as much as can be.
    later = packets[8:]
    assert _go(extradata, later) > 5
    random = Random(7)
    for _ in range(60):
        broken = [bytearray(data) for data in later]
        for data in broken:
            # Headers come first; the data behind them are only carried.
            for _ in range(random.randrange(4)):
                data[random.randrange(min(len(data), 60))] ^= 1 << random.randrange(8)
        sets = bytearray(extradata)
        if random.random() < 0.5:
            sets[random.randrange(len(sets))] ^= 1 << random.randrange(8)
        with suppress(*_NAMED):
            _go(bytes(sets), [bytes(data) for data in broken])


def test_cut_packets_end_in_named_errors(clip: Path) -> None:
    extradata, packets = _packets(clip)
    for size in (0, 1, 3, 5, 6, 8, 12, 20, 40, 70):
        _go(extradata, [data[:size] for data in packets])
        _go(b"", [data[:size] for data in packets])
        with suppress(*_NAMED):
            _go(extradata[:size], packets)


@given(st.binary(max_size=80), st.lists(st.binary(max_size=80), max_size=4))
def test_any_bytes_end_in_named_errors(extradata: bytes, packets: list[bytes]) -> None:
    with suppress(*_NAMED):
        _go(extradata, packets)
    with suppress(*_NAMED):
        _go(b"\x01\x64\x00\x1e\xff" + extradata, packets)
    start = b"\x00\x00\x01"
    with suppress(*_NAMED):
        _go(b"", [start + b"\x67" + extradata, *(start + b"\x65" + data for data in packets)])


def test_a_packet_of_a_hundred_thousand_slices_is_read_once() -> None:
    data = b"\x00\x00\x01\x06\x05" * 100_000
    with pytest.raises(BrokenUnits):
        H264Bitstream(b"").read(data)


_H264 = [
    name
    for name in footage("traits", "real", "splices")
    if any(part in name for part in ("264", "vfr", "truncated"))
]


@pytest.mark.parametrize("name", _H264)
def test_real_streams_are_read_without_an_error(name: str) -> None:
    extradata, packets = _packets(real(name), 240)
    bitstream = H264Bitstream(extradata, reorder_depth=2)
    accesses = [bitstream.read(data) for data in packets]
    keys = [index for index, access in enumerate(accesses) if access.picture.is_entry]
    assert keys[0] == 0
    for index in keys[-3:]:
        again = H264Bitstream(extradata, reorder_depth=2)
        copied = [again.read(data) for data in packets[index : index + 30]]
        again.enter(copied[0], drops_references=True)
        assert all(again.copied(access) for access in copied)
        assert again.encoding(20)
