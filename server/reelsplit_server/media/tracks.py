"""Everything beside the video: which streams of the source go where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Stream
from av.subtitles.stream import SubtitleStream

from reelsplit_server.media.audio import AudioWriter, audio_writer, plan_audio
from reelsplit_server.media.container import video_stream
from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.formats import Container
from reelsplit_server.media.output import Output, writing
from reelsplit_server.media.padding import PaddedTracks
from reelsplit_server.media.placed import AudioPlaced
from reelsplit_server.media.plan import Action, RenderPlan, StreamKind, StreamOutcome
from reelsplit_server.media.subtitles import SubtitleWriter, plan_subtitle

#: Tracks of sound, and of subtitles, that are carried at most: a file can claim thousands.
_MOST_TRACKS = 32
#: Seconds by which a packet may reach over an end.
_OVERLAP = Fraction(1, 5)
#: Packets that are held without a look whether some could be let go.
_FEW = 100


def plan_others(container: InputContainer, plan: RenderPlan) -> list[StreamOutcome]:
    """What is to become of every stream but the video that is cut, in the source's order."""
    chosen = video_stream(container).index
    has_chapters = bool(container.chapters())
    outcomes: list[StreamOutcome] = []
    carried: Counter[StreamKind] = Counter()
    for stream in container.streams:
        if stream.index == chosen:
            continue
        outcome = _plan_one(stream, plan, has_chapters=has_chapters)
        if outcome.action is not Action.DROPPED:
            carried[outcome.kind] += 1
            if carried[outcome.kind] > _MOST_TRACKS:
                reason = f"of each kind, only the first {_MOST_TRACKS} are carried"
                outcome = replace(outcome, action=Action.DROPPED, codec=None, reason=reason)
        outcomes.append(outcome)
    return outcomes


def kept(outcomes: Sequence[StreamOutcome]) -> set[int]:
    """The source's indexes of the streams that are not dropped."""
    return {outcome.source_index for outcome in outcomes if outcome.action is not Action.DROPPED}


def _plan_one(stream: Stream, plan: RenderPlan, *, has_chapters: bool) -> StreamOutcome:
    if isinstance(stream, AudioStream):
        return plan_audio(stream, plan.container, plan.audio)
    if isinstance(stream, SubtitleStream):
        return plan_subtitle(stream, plan.container)
    name = stream.name or "unknown"
    if isinstance(stream, AttachmentStream):
        keeps = plan.container is Container.MKV
        return StreamOutcome(
            kind=StreamKind.ATTACHMENT,
            source_index=stream.index,
            source_codec=stream.mimetype or "unknown",
            codec=stream.mimetype or "unknown" if keeps else None,
            action=Action.COPIED if keeps else Action.DROPPED,
            reason=None if keeps else f"a .{plan.container.value} file cannot hold attachments",
        )
    kind, reason = StreamKind.DATA, "data streams are not carried"
    if stream.type == "video":
        kind, reason = StreamKind.VIDEO, "only one video stream is cut; the others are left out"
        context = stream.codec_context
        name = context.codec.canonical_name if context is not None else name
    elif name == "bin_data" and has_chapters:
        reason = "the chapter track; the chapters themselves are carried where the container can"
    return StreamOutcome(
        kind=kind,
        source_index=stream.index,
        source_codec=name,
        codec=None,
        action=Action.DROPPED,
        language=stream.language,
        reason=reason,
    )


class Tracks:
    """The output's streams beside the video, each taking its source's packets."""

    def __init__(
        self,
        output: Output,
        container: InputContainer,
        plan: RenderPlan,
        outcomes: Sequence[StreamOutcome],
        *,
        start: Fraction,
        end: Fraction | None,
        damage: Damage,
    ) -> None:
        """`start` is what becomes time 0, `end` where sound and cues end: seconds on the
        source's own clock."""
        self._audio: dict[int, AudioWriter] = {}
        self._subtitles: dict[int, SubtitleWriter] = {}
        padded = PaddedTracks(output)
        for outcome in outcomes:
            if outcome.action is Action.DROPPED:
                continue
            stream = container.streams[outcome.source_index]
            if isinstance(stream, AudioStream):
                self._audio[stream.index] = audio_writer(
                    output,
                    padded,
                    stream,
                    outcome,
                    plan.audio,
                    start=start,
                    end=end,
                    damage=damage,
                )
            elif isinstance(stream, SubtitleStream):
                self._subtitles[stream.index] = SubtitleWriter(
                    output, stream, outcome.codec or "", start, end, damage
                )
            elif isinstance(stream, AttachmentStream):
                with writing():
                    output.file.add_stream_from_template(stream)
        self._held: list[Packet[Stream]] | None = None
        self._left = 0
        """How many were held on when some were let go last."""
        self._held_from = Fraction(0)
        self._waiting: set[int] = set()
        """Streams of which packets are held."""
        output.describe(container, start, end)

    @property
    def done(self) -> bool:
        """No audio stream wants more; subtitles follow the audio in the file."""
        return all(writer.done for writer in self._audio.values())

    def hold_end(self, until: Fraction) -> None:
        """The end is not known yet, but is not before `until`: keep back what lies there. Called
        again with a later time, it lets go what lies before that one, once that is worth it."""
        self._held_from = until - _OVERLAP
        if self._held is None:
            self._held = []
            self._set_end(None)
        elif len(self._held) > 2 * self._left + _FEW:
            self._release()
            self._left = len(self._held)

    def end_at(self, end: Fraction) -> None:
        """`end`: seconds on the source's own clock."""
        self._set_end(end)
        held, self._held = self._held, None
        self._waiting.clear()
        for packet in held or ():
            self.take(packet)

    def take(self, packet: Packet[Stream]) -> None:
        if self._held is not None and self._may_reach_end(packet):
            self._held.append(packet)
            self._waiting.add(packet.stream_index)
            return
        writer = self._audio.get(packet.stream_index) or self._subtitles.get(packet.stream_index)
        if writer is not None:
            writer.take(packet)

    def _set_end(self, end: Fraction | None) -> None:
        for writer in self._audio.values():
            writer.end = end
        for subtitle in self._subtitles.values():
            subtitle.end = end

    def _release(self) -> None:
        held, self._held = self._held or [], []
        self._waiting.clear()
        for packet in held:
            self.take(packet)

    def _may_reach_end(self, packet: Packet[Stream]) -> bool:
        """Whether the end may lie within what the packet has to be heard or shown."""
        time = packet.pts if packet.pts is not None else packet.dts
        if packet.stream_index in self._waiting:
            # A stream's packets stay in order.
            return True
        if time is None:
            return False
        reach = time * packet.time_base
        subtitle = self._subtitles.get(packet.stream_index)
        if subtitle is not None:
            reach += subtitle.length(packet)
        return reach >= self._held_from

    def finish(self) -> None:
        for writer in self._audio.values():
            writer.finish()

    @property
    def audio(self) -> Sequence[AudioPlaced]:
        """Where the sound of each track must lie in the output; after `finish`."""
        return [writer.placed for writer in self._audio.values()]
