"""AAC as it comes in MPEG-TS, where each packet has a header (ADTS), turned into that of files,
where the track has one (AudioSpecificConfig)."""

from __future__ import annotations

from av.audio.stream import AudioStream

_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000)
_LOW_COMPLEXITY = 2
_MOST_CHANNELS = 6


def config_of(source: AudioStream) -> bytes | None:
    """The header of a track for a stream that has none; None where it cannot be told."""
    context = source.codec_context
    if context.profile != "LC" or context.sample_rate not in _RATES:
        return None
    if not 1 <= context.channels <= _MOST_CHANNELS:
        return None
    rate = _RATES.index(context.sample_rate)
    return (_LOW_COMPLEXITY << 11 | rate << 7 | context.channels << 3).to_bytes(2, "big")


def without_header(data: bytes) -> bytes | None:
    """A packet without the header that it may have; None where it holds more than one block of
    sound, which only packets with a header can."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return data
    if data[6] & 3:
        return None
    has_checksum = not data[1] & 1
    return data[9:] if has_checksum else data[7:]
