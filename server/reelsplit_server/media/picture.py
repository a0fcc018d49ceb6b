"""The geometry of the output picture, and the filters that bring a frame into it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from fractions import Fraction

from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from reelsplit_server.media.hdr import side_data

_MATRIX = struct.Struct("<9i")

#: The filters that do what a display matrix says, by the signs of its four turning elements.
_TURNS = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, -1): ("hflip", "vflip"),
    (-1, 0, 0, 1): ("hflip",),
    (1, 0, 0, -1): ("vflip",),
    (0, 1, 1, 0): ("transpose=cclock_flip",),
    (0, 1, -1, 0): ("transpose=clock",),
    (0, -1, 1, 0): ("transpose=cclock",),
    (0, -1, -1, 0): ("transpose=clock_flip",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How coded pixels become the output's coded pixels."""

    width: int
    """This and `height`: the output's coded picture, in pixels."""
    height: int
    sample_aspect: Fraction
    matrix: tuple[int, ...] | None
    """The display matrix to store, nine elements, or None."""
    turns: tuple[str, ...] = ()
    """Filters that turn the picture itself, where no matrix can be stored."""
    inner: tuple[int, int] | None = None
    """The size to scale to, after turning; None leaves the size alone."""
    cropped: bool = False
    """An odd row or column was cut off, as the pixel format has none."""


def display_matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The frame's display matrix, or None where it has none or a trivial one."""
    data = side_data(frame, Type.DISPLAYMATRIX)
    if data is None:
        return None
    matrix: tuple[int, ...] = _MATRIX.unpack(data[: _MATRIX.size])
    return None if _signs(matrix) == (1, 0, 0, 1) else matrix


def lay_out(
    frame: VideoFrame,
    *,
    sample_aspect: Fraction,
    width: int | None,
    height: int | None,
    stores_matrix: bool,
    even: bool,
) -> Layout:
    """Plan the output picture. `width` and `height` are as displayed; `even` where the pixel
    format and codec allow even sizes only."""
    matrix = display_matrix(frame)
    turns: tuple[str, ...] = ()
    if matrix is not None and not stores_matrix:
        turns = _TURNS.get(_signs(matrix), ())
    sideways = matrix is not None and _signs(matrix)[0] == 0
    base = Layout(
        width=frame.width,
        height=frame.height,
        sample_aspect=sample_aspect,
        matrix=matrix if stores_matrix else None,
        turns=turns,
    )
    if turns and sideways:
        base = replace(
            base, width=frame.height, height=frame.width, sample_aspect=1 / sample_aspect
        )
    if width is None and height is None:
        wide, high = base.width, base.height
        if even and (wide % 2 or high % 2):
            return replace(base, width=wide & ~1 or 2, height=high & ~1 or 2, cropped=True)
        return base
    if sideways and not turns:
        width, height = height, width
    return _scaled(base, width, height)


def _scaled(base: Layout, width: int | None, height: int | None) -> Layout:
    """`base` brought to a size in coded orientation, with square pixels."""
    aspect = base.width * base.sample_aspect / base.height
    if width is None or height is None:
        if width is None:
            assert height is not None
            width = _even(height * aspect)
        else:
            height = _even(width / aspect)
        inner = (width, height)
    elif aspect * height >= width:
        inner = (width, min(height, _even(width / aspect)))
    else:
        inner = (min(width, _even(height * aspect)), height)
    if inner == (base.width, base.height) == (width, height):
        return replace(base, sample_aspect=Fraction(1))
    return replace(base, width=width, height=height, sample_aspect=Fraction(1), inner=inner)


def _even(value: Fraction) -> int:
    return max(2, round(value / 2) * 2)


def _signs(matrix: tuple[int, ...]) -> tuple[int, int, int, int]:
    a, b, c, d = (matrix[i] for i in (0, 1, 3, 4))
    largest = max(abs(a), abs(b), abs(c), abs(d), 1)

    def sign(value: int) -> int:
        return 0 if abs(value) * 8 < largest else (1 if value > 0 else -1)

    return sign(a), sign(b), sign(c), sign(d)


class Shaper:
    """Brings frames into the output's size and pixel format, and leaves alone those that are."""

    def __init__(self, layout: Layout, pixel_format: str, *, interlaced: bool) -> None:
        self._layout, self._format, self._interlaced = layout, pixel_format, interlaced
        self._graph: Graph | None = None
        self._made_for: tuple[int, int, str] | None = None
        self._expected: tuple[int, int] | None = None

    def shape(self, frame: VideoFrame) -> VideoFrame:
        layout = self._layout
        if self._expected is None:
            self._expected = (frame.width, frame.height)
        if (
            frame.format.name == self._format
            and frame.width == layout.width
            and frame.height == layout.height
            and not layout.turns
            and layout.inner in (None, (layout.width, layout.height))
        ):
            return frame
        key = (frame.width, frame.height, frame.format.name)
        if self._graph is None or key != self._made_for:
            self._graph, self._made_for = self._build(frame), key
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _build(self, frame: VideoFrame) -> Graph:
        layout, graph = self._layout, Graph()
        nodes = [
            graph.add(
                "buffer",
                width=str(frame.width),
                height=str(frame.height),
                pix_fmt=frame.format.name,
                time_base=str(frame.time_base),
                pixel_aspect=f"{layout.sample_aspect.numerator}/{layout.sample_aspect.denominator}",
                colorspace=str(int(frame.colorspace)),
                range=str(int(frame.color_range)),
            )
        ]
        steps = list(layout.turns)
        inner = layout.inner
        if (frame.width, frame.height) != self._expected and inner is None:
            inner = (layout.width, layout.height)
        if inner is not None:
            fields = ":interl=1" if self._interlaced else ""
            steps.append(f"scale={inner[0]}:{inner[1]}:flags=bicubic{fields}")
            if inner != (layout.width, layout.height):
                steps.append(f"pad={layout.width}:{layout.height}:-1:-1:black")
        elif layout.cropped:
            steps.append(f"crop={layout.width}:{layout.height}:0:0")
        steps.append(f"format={self._format}")
        for step in steps:
            name, _, arguments = step.partition("=")
            nodes.append(graph.add(name, arguments or None))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph
