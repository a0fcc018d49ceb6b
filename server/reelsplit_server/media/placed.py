"""What was promised of one audio track of the output, for whoever checks the written file."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPlaced:
    """Where the sound of one track must lie. Times are seconds of the output: 0 is when the
    first picture is shown."""

    index: int
    """Of the stream in the output file."""
    codec: str
    """FFmpeg's name, as in ``stream.codec_context.codec.canonical_name`` of the output."""
    first: Fraction
    """Of the first sample that is to be heard: 0 where sound covers the start, later where the
    track begins late, a little before 0 where the container cannot trim."""
    last: Fraction
    """The end of the last sample that is to be heard."""
    tolerance: Fraction
    """By how much a reader of the file may miss `first` and, where the header says how long a
    track is, `last`: what the container's clock, and the source's, can hold."""
    overrun: Fraction
    """By how much decoded sound may last longer than `last`, beyond `tolerance`: decoders do not
    stop within the last packet where only a header says that they should. 0 in most containers."""
    preroll: Fraction = Fraction(0)
    """Of the file's packets, how much lies before `first`: the decoder needs it to get in tune,
    and the file says that it is not to be heard."""
    is_copied: bool = False
    """The packets are the source's own: whether they can be decoded is its affair."""
    empty: bool = False
    """No packet of the track lies in the segment; `first` and `last` are both 0 then."""
