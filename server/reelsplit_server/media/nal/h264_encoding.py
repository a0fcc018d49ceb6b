"""An x264 whose pictures can stand between those of an H.264 source: its options, its sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reelsplit_server.media.nal.bitstream import CannotJoin
from reelsplit_server.media.nal.h264_sets import Sps, write_sps
from reelsplit_server.media.nal.h264_vui import Restriction, Vui

#: x264's names of profiles, each a part of those after it. x264's baseline is the constrained one.
_PROFILES = {
    66: "baseline",
    77: "main",
    100: "high",
    110: "high10",
    122: "high422",
    244: "high444",
}
_FORMATS = {0: "gray", 1: "yuv420p", 2: "yuv422p", 3: "yuv444p"}
_LEVELS = frozenset(
    {10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52, 60, 61, 62},
)
#: How much finer than the source's own quantiser: what is encoded was coded before, and the loss
#: of both generations adds up. At 4 it is 1 dB on average (luma, against the pristine pictures;
#: preset veryfast, superfast costs 0.1 dB more) for 2.3 times the bytes, at 2 it is 1.4 dB for 1.9
#: times. A rate factor, which x264 turns into
#: quantisers by itself, is no closer on film, misses runs of a few pictures by 0.6 dB, and spends
#: many times the bytes on stills.
_FINER = 4
#: x264 counts quantisers from 0 for every depth, slices from less than 0 for deep pictures.
_STEPS_A_BIT = 6
_RGB = 0
_BASELINE_FLAG, _MAIN_FLAG = 0x80, 0x40
#: What constrains the high profile further: no field coding, no B slices.
_NO_B_FLAG = 0x04


def pixel_format(source: Sps) -> str:
    """FFmpeg's name of the format in which x264 takes such pictures. Raises `CannotJoin`."""
    colour = None if source.vui is None else source.vui.colour
    matrix = None if colour is None or colour.description is None else colour.description[2]
    if source.chroma == 3 and matrix == _RGB:
        raise CannotJoin("its pictures are RGB")
    if source.separate_planes:
        raise CannotJoin("its colour planes are coded apart")
    if source.depth_luma != source.depth_chroma and source.chroma:
        raise CannotJoin("brightness and colour have different depths")
    if source.depth_luma not in (8, 10):
        raise CannotJoin(f"there is no encoder for {source.depth_luma} bits a sample")
    name = _FORMATS[source.chroma]
    return name if source.depth_luma == 8 else f"{name}10le"


def encoder_options(
    source: Sps, *, set_id: int, quantiser: int, reordering: int, top_field_first: bool | None
) -> Mapping[str, str]:
    """Options for libx264. `reordering`: pictures that may overtake one; `top_field_first`: None
    for progressive pictures. Raises `CannotJoin`."""
    pixel_format(source)
    profile = _profile(source)
    parameters = {
        "sps-id": str(set_id),
        "open-gop": "0",
        "scenecut": "0",
        "threads": "1",
        "lookahead-threads": "1",
        "sync-lookahead": "0",
        "rc-lookahead": "10",
        # The sets must not depend on the quantiser: several encoders share them.
        "stitchable": "1",
        "annexb": "1",
    }
    references = min(source.references, source.most_frames)
    if source.intra_only or references == 0:
        parameters |= {"keyint": "1", "bframes": "0"}
    else:
        two_way = reordering and references > 1 and profile != "baseline"
        if source.profile == 100 and source.constraints & _NO_B_FLAG:
            two_way = False
        pyramid = reordering > 1 and references > 3
        parameters |= {
            "keyint": "infinite",
            "bframes": "3" if two_way else "0",
            "b-pyramid": "normal" if two_way and pyramid else "none",
            "ref": "1",
            "dpb-size": str(references),
        }
    if not source.frames_only:
        if profile == "baseline":
            raise CannotJoin("its profile and its fields do not go together")
        field = {None: "fake-interlaced", True: "tff", False: "bff"}[top_field_first]
        # x264 has no weights for fields, and says so on stderr.
        parameters |= {field: "1", "weightp": "0"}
    options = {
        "preset": "superfast",
        "profile": profile,
        "qp": _quantiser(source, quantiser),
        "x264-params": ":".join(f"{name}={value}" for name, value in parameters.items()),
    }
    if source.is_level_1b:
        options["level"] = "1b"
    elif source.level in _LEVELS:
        options["level"] = f"{source.level // 10}.{source.level % 10}"
    return options


def _quantiser(source: Sps, quantiser: int) -> str:
    below = _STEPS_A_BIT * (source.depth_luma - 8)
    # 0 would be lossless, which hardly any profile knows.
    return str(min(max(quantiser - _FINER + below, 1), 51 + below))


def _profile(source: Sps) -> str:
    if source.profile not in _PROFILES:
        raise CannotJoin(f"there is no encoder for H.264 profile {source.profile}")
    if source.profile in (66, 77, 100):
        # A stream may promise to keep to a lower profile as well.
        if source.profile == 66 or source.constraints & _BASELINE_FLAG:
            return _PROFILES[66]
        if source.constraints & _MAIN_FLAG:
            return _PROFILES[77]
    return _PROFILES[source.profile]


def joined(encoder: Sps, source: Sps, *, reordering: int | None) -> bytes:
    """The encoder's sequence set, with the source's words for everything that is not decoding.

    `reordering`: pictures of the source that may overtake one, None where that is not known.
    Raises `CannotJoin` where the encoder's pictures are no part of what the source's set allows.
    """
    known = list(_PROFILES)
    if encoder.profile not in known or source.profile not in known:
        raise CannotJoin(f"there is no encoder for H.264 profile {source.profile}")
    if known.index(encoder.profile) > known.index(source.profile):
        raise CannotJoin("the encoder needs a higher H.264 profile")
    for what, ours, theirs in (
        ("chroma format", encoder.chroma, source.chroma),
        ("depth", encoder.depth_luma, source.depth_luma),
        ("size", (encoder.width, encoder.height), (source.width, source.height)),
        ("crop", encoder.crop, source.crop),
        ("field coding", encoder.frames_only, source.frames_only),
    ):
        if ours != theirs:
            raise CannotJoin(f"the encoder's {what} is not the source's")
    limits = encoder.vui.restriction if encoder.vui is not None else None
    if limits is None and encoder.intra_only:
        limits = Restriction(reordering=0, buffering=0)
    if encoder.scaling or encoder.poc_type == 1 or limits is None:
        raise CannotJoin("the encoder's parameter sets are not as expected")
    room = source.most_frames
    if encoder.references > source.references or limits.buffering > room:
        raise CannotJoin("the encoder needs more reference frames than the source has")
    told = source.vui.restriction if source.vui is not None else None
    allowed = told.reordering if told is not None else room
    if limits.reordering > allowed:
        raise CannotJoin("the encoder reorders more pictures than the source does")
    if told is None and reordering is not None:
        allowed = min(max(limits.reordering, reordering), room)
    restriction = Restriction(
        over_boundaries=limits.over_boundaries,
        most_bytes=limits.most_bytes,
        most_bits=limits.most_bits,
        log2_mv_horizontal=limits.log2_mv_horizontal,
        log2_mv_vertical=limits.log2_mv_vertical,
        # Decoders may drop or delay pictures where these change in the middle.
        reordering=allowed,
        buffering=room,
    )
    return write_sps(
        replace(
            encoder,
            profile=source.profile,
            constraints=source.constraints,
            level=source.level,
            vui=replace(source.vui or Vui(), restriction=restriction),
        )
    )
