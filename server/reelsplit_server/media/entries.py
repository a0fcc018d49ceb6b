"""Where decoding can begin, in codecs without NAL units: read off the packets themselves."""

from __future__ import annotations

from reelsplit_server.media.nal.bitstream import Picture

_FRAME_ALONE = frozenset(("prores", "mjpeg", "dnxhd", "qtrle", "png", "dvvideo", "huffyuv"))
"""Codecs all of whose pictures stand alone."""

_OBU_SEQUENCE, _OBU_FRAME_HEADER, _OBU_FRAME = 1, 3, 6
_MPEG2_PICTURE, _MPEG2_SEQUENCE, _MPEG2_GROUP = 0x00, 0xB3, 0xB8
_MPEG4_GROUP, _MPEG4_VOP = 0xB3, 0xB6


def picture_of(codec: str, data: bytes, *, is_key: bool) -> Picture:
    """What decoding may do at a packet: IDR, CRA (leading pictures may follow) or OTHER.

    `is_key` is the container's own opinion; the packet overrules it where it says no.
    """
    if codec in _FRAME_ALONE:
        return Picture.IDR
    match codec:
        case "vp8":
            is_entry = bool(data) and not data[0] & 1
        case "vp9":
            is_entry = is_key and _vp9_shown_key(data)
        case "av1":
            is_entry = is_key and _av1_shown_key(data)
        case "mpeg2video" | "mpeg1video":
            return _mpeg2(data)
        case "mpeg4":
            return _mpeg4(data) if is_key else Picture.OTHER
        case _:
            is_entry = is_key
    return Picture.IDR if is_entry else Picture.OTHER


def _vp9_shown_key(data: bytes) -> bool:
    """Whether the packet's first frame is a key frame that is shown."""
    if not data:
        return False
    first = data[0]
    profile = first >> 5 & 1 | (first >> 4 & 1) << 1
    bit = 3 if profile != 3 else 2  # where show_existing_frame stands, from the right
    return not first >> bit & 1 and not first >> bit - 1 & 1 and bool(first >> bit - 2 & 1)


def _av1_shown_key(data: bytes) -> bool:
    """Whether a temporal unit begins with a sequence header and a key frame that is shown.

    A key frame that is not (a forward key frame) is shown later by another unit's header, and
    what lies between leans on what was before it.
    """
    at, has_sequence = 0, False
    while at < len(data):
        header = data[at]
        kind, extended, sized = header >> 3 & 15, header >> 2 & 1, header >> 1 & 1
        at += 1 + extended
        size, shift = 0, 0
        if sized:
            while at < len(data) and shift < 56:
                byte = data[at]
                at += 1
                size |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80:
                    break
        else:
            size = len(data) - at
        if kind == _OBU_SEQUENCE:
            has_sequence = True
        elif kind in (_OBU_FRAME_HEADER, _OBU_FRAME):
            if at >= len(data):
                return False
            # show_existing_frame (1 bit), frame_type (2 bits, 0 is a key frame), show_frame.
            return has_sequence and data[at] >> 4 == 0b0001
        at += size
    return False


def _mpeg2(data: bytes) -> Picture:
    """An intra picture after a sequence header; clean where its group says that it is closed."""
    at, has_sequence, is_closed = 0, False, False
    while (at := data.find(b"\x00\x00\x01", at)) >= 0 and at + 8 <= len(data):
        kind = data[at + 3]
        if kind == _MPEG2_SEQUENCE:
            has_sequence = True
        elif kind == _MPEG2_GROUP:
            is_closed = bool(data[at + 7] & 0x40)
        elif kind == _MPEG2_PICTURE:
            if not has_sequence or data[at + 5] >> 3 & 7 != 1:
                return Picture.OTHER
            return Picture.IDR if is_closed else Picture.CRA
        at += 4
    return Picture.OTHER


def _mpeg4(data: bytes) -> Picture:
    """An intra VOP; leading ones may follow unless its group says that it is closed."""
    at, is_closed = 0, False
    while (at := data.find(b"\x00\x00\x01", at)) >= 0 and at + 7 <= len(data):
        kind = data[at + 3]
        if kind == _MPEG4_GROUP:
            # Eighteen bits of time, then closed_gov.
            is_closed = bool(data[at + 6] & 0x20)
        elif kind == _MPEG4_VOP:
            if data[at + 4] >> 6:
                return Picture.OTHER
            return Picture.IDR if is_closed else Picture.CRA
        at += 4
    return Picture.OTHER
