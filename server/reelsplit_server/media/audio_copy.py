"""Audio copied packet by packet."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import cast

from av.audio.stream import AudioStream
from av.packet import Packet, PacketSideData
from av.stream import Stream

from reelsplit_server.media.adts import without_header
from reelsplit_server.media.audio_grid import Grid
from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.output import Output, inherit, writing
from reelsplit_server.media.padding import MARK, PaddedTracks, Padding
from reelsplit_server.media.placed import AudioPlaced

#: Seconds that a decoder of each codec needs to sound right after a cut; one packet where none
#: are given.
_WARM_UP = {
    "opus": Fraction(8, 100),
    "mp3": Fraction(8, 100),
    "vorbis": Fraction(5, 100),
    "truehd": Fraction(16, 100),
}
#: Packets that are kept for that, at most.
_MOST_EARLY = 64
#: FFmpeg's number of the side data that says how many samples to leave out.
_SKIP_SAMPLES = 11


class CopiedAudio:
    """Packets as they are.

    Where the container can trim, packets of pre-roll before the first sample make it sound right,
    and are hidden: by an edit list in MP4 and MOV, whose header says the end as well; by a codec
    delay and a discard padding in MKV and WebM. Else packets go by their middle, so that each is
    in one of two neighbouring segments.
    """

    def __init__(
        self,
        output: Output,
        padded: PaddedTracks,
        source: AudioStream,
        start: Fraction,
        end: Fraction | None,
        damage: Damage,
    ) -> None:
        """`start` and `end`: seconds on the source's own clock."""
        self.done = False
        self.end = end
        self._output, self._start, self._damage = output, start, damage
        self._grid = Grid(source, start)
        rate = self._grid.rate
        self._padding: Padding | None = None
        if (added := padded.add(source)) is not None:
            self._stream, self._padding = added
        else:
            with writing():
                self._stream = output.file.add_stream_from_template(source)
        self._stream.time_base = self._base = Fraction(1, rate)
        inherit(self._stream, source)
        self._trims = output.hides_preroll or self._padding is not None
        self._codec = source.codec_context.codec.canonical_name
        self._most_hidden = round(MARK * rate)
        self._warm_up = round(_WARM_UP.get(self._codec, Fraction(0)) * rate)
        self._source_start = source.start_time
        self._early: deque[tuple[Packet[Stream], int, int]] = deque()
        self._shift: int | None = None
        """Samples that the muxer's times lie after ours; known with the first packet."""
        self._counted: tuple[Fraction | None, int | None] = (None, None)
        """The end, and the samples up to there: it seldom changes."""
        self._last_at: int | None = None
        self._longest = 0
        self._heard: tuple[int, int] | None = None
        self._preroll = 0
        self._unsaid = 0
        """Samples behind the end that FFmpeg's reader does not leave out."""

    def take(self, packet: Packet[Stream]) -> None:
        if self.done:
            return
        time = self._grid.time(packet)
        if time is None:
            return
        count = self._grid.length(packet)
        at = self._grid.settle(time, count, is_exact=self._grid.knows_lengths)
        length = self._length()
        middle = time if self._trims else time + count * self._base / 2
        if length is not None and self.end is not None:
            self.done = at >= length if self._trims else middle >= self.end
            if self.done:
                return
        if self._padding is not None and at < -self._most_hidden:
            return
        if self._trims and at + count <= 0:
            self._keep(packet, at, count)
            return
        if not self._trims and middle < self._start:
            return
        if self._heard is None and self._leads_to(at):
            for early in self._early:
                self._write(*early, length)
        self._early.clear()
        self._write(packet, at, count, length)

    def finish(self) -> None:
        self.done = True

    @property
    def placed(self) -> AudioPlaced:
        first, last = self._heard or (0, 0)
        return AudioPlaced(
            index=self._stream.index,
            codec=self._codec,
            first=first * self._base,
            last=last * self._base,
            tolerance=self._output.tick + self._grid.tick + self._base,
            overrun=(self._longest if self._output.hides_preroll else self._unsaid) * self._base,
            preroll=self._preroll * self._base,
            is_copied=True,
            empty=self._heard is None,
        )

    def _length(self) -> int | None:
        """Samples from time 0 to the end."""
        if self.end != self._counted[0]:
            assert self.end is not None
            self._counted = self.end, round((self.end - self._start) / self._base)
        return self._counted[1]

    def _keep(self, packet: Packet[Stream], at: int, count: int) -> None:
        """Hold a packet from before the start for as long as a decoder may have to begin there."""
        if not self._leads_to(at):
            self._early.clear()
        self._early.append((packet, at, count))
        need = self._warm_up or count
        while len(self._early) > 1 and self._early[1][1] <= -need:
            self._early.popleft()
        if len(self._early) > _MOST_EARLY:
            self._early.popleft()

    def _leads_to(self, at: int) -> bool:
        """Whether the packets that are held end where `at` is."""
        if not self._early:
            return False
        _, last, count = self._early[-1]
        return abs(last + count - at) <= self._grid.slack

    def _write(self, packet: Packet[Stream], at: int, count: int, length: int | None) -> None:
        if self._last_at is not None and at <= self._last_at:
            return
        skip, discard = self._left_out(packet)
        if self._trims and length is not None:
            discard = max(discard, at + count - length)
        # A new one: what the source's demuxer told the decoder of it is not true any more.
        data: bytes | None = bytes(packet)
        if data is not None and self._padding is not None and self._codec == "aac":
            data = without_header(data)
        if not data:
            self._damage.note("an audio packet is not as its track says")
            return
        written: Packet[Stream] = Packet(data)
        written.is_keyframe = packet.is_keyframe
        written.duration = count
        if self._padding is not None:
            discard = min(discard, count)
            if discard:
                written.set_sidedata(_skip_samples(discard))
            # It does not see a discard padding on the packet that the codec delay lies on.
            self._unsaid = discard if self._shift is None else 0
        elif self._output.hides_preroll:
            # The header then says where the sound really ends.
            written.duration = count = max(1, count - discard)
            discard = 0
        self._last_at = at
        if self._shift is None:
            self._begin(at, skip)
        assert self._shift is not None
        written.pts = written.dts = at + self._shift
        written.time_base = self._base
        written.stream = self._stream
        self._longest = max(self._longest, self._grid.length(packet))
        if self._trims and at + count <= 0:
            self._preroll += count
        else:
            first = self._heard[0] if self._heard else max(at, 0) if self._trims else at
            if self._heard is None and self._padding is not None:
                first = max(first, at + skip)
            if self._heard is None and first > at:
                self._preroll += first - at
            self._heard = first, at + count - discard
            if self._padding is not None:
                self._padding.end = at + count - discard
        self._output.mux(written)

    def _begin(self, at: int, skip: int) -> None:
        """The first packet of all tells what has to be hidden."""
        self._shift = 0
        if self._padding is not None:
            self._padding.samples = min(max(skip, -at, 0), self._most_hidden)
            # The muxer adds the mark; a reader takes away the true delay.
            self._shift = self._padding.samples - self._most_hidden

    def _left_out(self, packet: Packet[Stream]) -> tuple[int, int]:
        """Samples at both ends of a packet that the source itself says are no sound. At the
        beginning that is only true of the track's first packet, whatever the demuxer says after
        a seek."""
        discard = self._grid.shortened(packet)
        data = b""
        if packet.has_sidedata("skip_samples"):
            data = bytes(packet.get_sidedata("skip_samples"))
        if len(data) < 8:
            return 0, discard
        skip, said = struct.unpack_from("<II", data)
        if packet.pts is None or self._source_start is None or packet.pts > self._source_start:
            skip = 0
        most = self._grid.rate
        return (skip if skip < most else 0), (max(said, discard) if said < most else discard)


def _skip_samples(discard: int) -> PacketSideData:
    # PyAV's stub does not know the constructor.
    data = cast("Callable[[int, int], PacketSideData]", PacketSideData)(_SKIP_SAMPLES, 10)
    data.update(struct.pack("<IIBB", 0, discard, 0, 0))
    return data
