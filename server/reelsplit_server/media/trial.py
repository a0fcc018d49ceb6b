"""Decoding what lies around the seams of a written segment, and nothing else of it."""

from __future__ import annotations

from fractions import Fraction

import av.error
from av.codec.context import ThreadType
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from reelsplit_server.media.errors import MediaError

#: Copied frames decoded after an encoded head, to see that they join.
_AFTER_HEAD = 8
#: Frames decoded at the start where nothing was encoded: the entry and what follows it.
_AT_ENTRY = 4
#: Copied frames decoded before an encoded tail, at most; with more up to their key frame, only
#: the tail is decoded.
_BEFORE_TAIL = 24
#: Of a segment that was encoded as a whole: frames at its start, and from its last key frame on,
#: at most.
_OF_WHOLE = 48

_STRICT = {
    "err_detect": "explode+crccheck+bitstream+buffer",
    # It changes pixels, which nobody looks at, and never what can be decoded.
    "skip_loop_filter": "all",
}


class VerificationFailed(MediaError):
    """``VERIFICATION_FAILED``: the file is not what it should be; the message says in what.

    ``metadata["check"]`` is a stable word for what was looked at: ``unreadable``, ``parameters``,
    ``frame_count``, ``times``, ``duration``, ``frame_rate``, ``decode_times``, ``keys``, ``sets``,
    ``units``, ``decoding``, ``audio``.
    """


def failed(check: str, what: str) -> VerificationFailed:
    """The error for a check; `what` completes "The written segment did not pass its check: "."""
    return VerificationFailed(
        "VERIFICATION_FAILED",
        f"The written segment did not pass its check: {what}.",
        metadata={"check": check},
    )


class Trial:
    """Takes a segment's video packets in decoding order; decodes the few that are worth it."""

    def __init__(self, stream: VideoStream, *, frames: int, head: int, tail: int, threads: int):
        """`frames` are in the segment; `head` of them at the start and `tail` at the end were
        encoded. `threads` is for the decoder."""
        self.decoded_frames = 0
        self._context = stream.codec_context
        self._context.options = {**self._context.options, **_STRICT}
        self._context.thread_type = ThreadType.AUTO
        self._context.thread_count = threads
        self._base = Fraction(stream.time_base or 1)
        self._is_whole = head >= frames
        self._has_tail = tail > 0
        if self._is_whole:
            self._left, self._most_held = _OF_WHOLE, _OF_WHOLE
        else:
            self._left = head + _AFTER_HEAD if head else _AT_ENTRY
            self._most_held = _BEFORE_TAIL if tail else 0
        self._in_tail = False
        self._held: list[Packet[Stream]] | None = None
        self._wanted: list[int] = []
        self._got: list[int] = []

    def take(self, packet: Packet[Stream], *, enters: bool, shows: bool, is_tail: bool) -> None:
        """`enters`: decoding can begin here; `shows`: a frame comes out of it; `is_tail`: it
        belongs to the encoded tail."""
        is_first_of_tail = is_tail and not self._in_tail
        self._in_tail |= is_tail
        if self._left or self._in_tail:
            if is_first_of_tail and not self._left:
                self._feed_held()
            self._feed(packet, shows)
            self._left = max(0, self._left - 1)
            if not self._left and not self._in_tail:
                self._end_run()
                if self._is_whole:
                    # Where the last key frame was fed already, nothing is left to try.
                    self._held = None
        self._hold(packet, enters, shows)

    def finish(self) -> None:
        """Decode what is left, after the last packet."""
        if self._is_whole and not self._left:
            self._feed_held()
        self._end_run()

    def _hold(self, packet: Packet[Stream], enters: bool, shows: bool) -> None:
        if not self._most_held or self._in_tail:
            return
        if enters:
            self._held = [packet]
        elif self._held is not None:
            if len(self._held) >= self._most_held:
                self._held = None
            elif shows and (packet.pts or 0) < (self._held[0].pts or 0):
                # A leading picture: it may need what was before.
                return
            else:
                self._held.append(packet)

    def _feed_held(self) -> None:
        for packet in self._held or ():
            self._feed(packet, shows=not packet.is_discard)
        self._held = None

    def _feed(self, packet: Packet[Stream] | None, shows: bool) -> None:
        """Decode a packet (None: the end); raises `VerificationFailed`."""
        if packet is not None and shows and packet.pts is not None:
            self._wanted.append(packet.pts)
        try:
            frames = self._context.decode(packet)
        except av.error.FFmpegError as error:
            where = self._where(None if packet is None else packet.pts)
            raise failed(
                "decoding", f"the video {where} cannot be decoded ({error.strerror})"
            ) from error
        for frame in frames:
            if frame.is_corrupt:
                raise failed("decoding", f"the frame {self._where(frame.pts)} decodes corruptly")
            self._got.append(-1 if frame.pts is None else frame.pts)

    def _end_run(self) -> None:
        """Drain the decoder and see that each packet became a frame, in order."""
        if not self._wanted and not self._got:
            return
        self._feed(None, shows=False)
        self._context.flush_buffers()
        wanted = sorted(self._wanted)
        if self._got != wanted:
            missing = sorted(set(wanted) - set(self._got))
            where = self._where(missing[0] if missing else wanted[0])
            raise failed(
                "decoding",
                f"{len(wanted)} frames around the one {where} come out of the decoder as "
                f"{len(self._got)}, or at other times",
            )
        self.decoded_frames += len(wanted)
        self._wanted, self._got = [], []

    def _where(self, pts: int | None) -> str:
        return "at its end" if pts is None else f"at {float(pts * self._base):.3f} s"
