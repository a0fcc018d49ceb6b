"""Audio of a span: what becomes of each stream, and who writes it."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol

from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

from reelsplit_server.media.audio_copy import CopiedAudio
from reelsplit_server.media.audio_encode import EncodedAudio, keeps_all
from reelsplit_server.media.audio_pcm import SlicedAudio, is_sliceable
from reelsplit_server.media.decoding import Damage
from reelsplit_server.media.formats import AUDIO_IN, DEFAULT_AUDIO, AudioCodec, Container
from reelsplit_server.media.output import Output
from reelsplit_server.media.padding import PaddedTracks
from reelsplit_server.media.placed import AudioPlaced
from reelsplit_server.media.plan import (
    Action,
    AudioMode,
    AudioSettings,
    StreamKind,
    StreamOutcome,
)

_HIGHEST_RATE = 768_000
_MOST_CHANNELS = 64
_WITHOUT_LOSS = "encoded anew without any loss, so that it begins and ends on the sample"


class AudioWriter(Protocol):
    done: bool
    """Nothing more is wanted."""
    end: Fraction | None
    """Seconds on the source's own clock; may be set late, but before what lies beyond comes."""

    def take(self, packet: Packet[Stream]) -> None: ...

    def finish(self) -> None: ...

    @property
    def placed(self) -> AudioPlaced:
        """Where the sound lies in the output; after `finish`."""


def plan_audio(stream: AudioStream, container: Container, asked: AudioSettings) -> StreamOutcome:
    """What is to become of one audio stream."""
    context = stream.codec_context
    source = "unknown" if context is None else context.codec.canonical_name

    def outcome(action: Action, codec: str | None, reason: str | None) -> StreamOutcome:
        return StreamOutcome(
            kind=StreamKind.AUDIO,
            source_index=stream.index,
            source_codec=source,
            codec=codec,
            action=action,
            language=stream.language,
            reason=reason,
        )

    fits = source in AUDIO_IN[container]
    cannot = f"a .{container.value} file cannot hold {source} audio"
    if asked.codec is AudioMode.NONE:
        return outcome(Action.DROPPED, None, "no audio was asked for")
    if context is None or not 0 < context.sample_rate <= _HIGHEST_RATE:
        return outcome(Action.DROPPED, None, "its codec or format is unknown")
    if not 0 < context.channels <= _MOST_CHANNELS:
        return outcome(Action.DROPPED, None, "its codec or format is unknown")
    copies = asked.codec is AudioMode.COPY or (asked.codec is None and not asked.asks_to_encode)
    if fits and copies:
        if keeps_all(stream):
            return outcome(Action.ENCODED, source, _WITHOUT_LOSS)
        return outcome(Action.COPIED, source, None)
    if asked.codec is AudioMode.COPY:
        return outcome(Action.DROPPED, None, cannot)
    if isinstance(asked.codec, AudioCodec):
        return outcome(Action.ENCODED, asked.codec.value, None)
    codec = DEFAULT_AUDIO[container]
    if fits and source in {c.value for c in AudioCodec}:
        codec = AudioCodec(source)
    return outcome(Action.ENCODED, codec.value, None if fits else cannot)


def audio_writer(
    output: Output,
    padded: PaddedTracks,
    stream: AudioStream,
    outcome: StreamOutcome,
    asked: AudioSettings,
    *,
    start: Fraction,
    end: Fraction | None,
    damage: Damage,
) -> AudioWriter:
    """Whoever does to the stream what `outcome` says. `start` and `end`: seconds on the source's
    own clock; `start` becomes time 0."""
    if outcome.action is Action.ENCODED:
        lossy = {codec.value for codec in AudioCodec}
        codec = AudioCodec(outcome.codec) if outcome.codec in lossy else None
        return EncodedAudio(output, stream, codec, asked, start, end, damage)
    if is_sliceable(outcome.source_codec):
        return SlicedAudio(output, stream, start, end)
    return CopiedAudio(output, padded, stream, start, end, damage)
