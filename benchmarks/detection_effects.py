"""Transitions between two shots, and what happens inside a shot without ending it.

Pictures are BGR, uint8, of shape (height, width, 3); a run of them has a leading axis.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Mix = Callable[[Pictures, Pictures, np.random.Generator], Pictures]
"""Takes the same number of pictures of the old shot and of the new; answers as many mixed ones."""
Change = Callable[[Pictures, np.random.Generator], Pictures]
"""Takes pictures of one shot; answers as many."""


def _steps(count: int) -> NDArray[np.float32]:
    """How much of the new shot is in each mixed picture: above 0 and below 1."""
    return (np.arange(1, count + 1) / (count + 1)).astype(np.float32)


def _blend(old: Pictures, new: Pictures, share: NDArray[np.float32]) -> Pictures:
    """`share` of the new: one number a picture, or one a pixel."""
    while share.ndim < old.ndim:
        share = share[..., None]
    mixed = old.astype(np.float32) * (1 - share) + new.astype(np.float32) * share
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def dissolve(old: Pictures, new: Pictures, random: np.random.Generator) -> Pictures:
    return _blend(old, new, _steps(len(old)))


def fade(colour: int, hold: int) -> Mix:
    """Out to one colour, `hold` pictures of it, and in again."""

    def mix(old: Pictures, new: Pictures, random: np.random.Generator) -> Pictures:
        out = (len(old) - hold) // 2
        into = len(old) - hold - out
        plain = np.full_like(old, colour)
        share = _steps(out) if out else np.empty(0, np.float32)
        back = _steps(into)[::-1] if into else np.empty(0, np.float32)
        mixed = plain.copy()
        mixed[:out] = _blend(old[:out], plain[:out], share)
        mixed[out + hold :] = _blend(new[out + hold :], plain[out + hold :], back)
        return mixed

    return mix


def _lit(shot: Pictures, gains: NDArray[np.float32]) -> Pictures:
    lit: NDArray[np.float32] = shot.astype(np.float32) * gains[:, None, None, None]
    return np.clip(lit, 0, 255).astype(np.uint8)


def _masked(field: NDArray[np.float32], soft: float) -> Mix:
    """The new shot appears where `field` (0 to 1 a pixel) has been passed."""

    def mix(old: Pictures, new: Pictures, random: np.random.Generator) -> Pictures:
        edge = max(soft, 1e-3)
        # Also the soft edge has to be outside before the first mixed picture and after the last.
        reached = _steps(len(old)) * (1 + edge)
        share = np.clip((reached[:, None, None] - field[None]) / edge, 0, 1)
        return _blend(old, new, share.astype(np.float32))

    return mix


def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return rows / (height - 1), columns / (width - 1)


def wipe(old: Pictures, new: Pictures, random: np.random.Generator) -> Pictures:
    """A straight edge, hard or soft, in any direction."""
    rows, columns = _grid(*old.shape[1:3])
    angle = random.choice(8) * np.pi / 4 if random.random() < 0.7 else random.random() * 2 * np.pi
    field = columns * np.cos(angle) + rows * np.sin(angle)
    field = (field - field.min()) / (field.max() - field.min())
    return _masked(field.astype(np.float32), random.choice([0.0, 0.06, 0.2]))(old, new, random)


def iris(old: Pictures, new: Pictures, random: np.random.Generator) -> Pictures:
    """A circle that opens or closes."""
    rows, columns = _grid(*old.shape[1:3])
    aspect = old.shape[2] / old.shape[1]
    away = np.hypot((columns - 0.5) * aspect, rows - 0.5)
    field = (away / away.max()).astype(np.float32)
    if random.random() < 0.4:
        field = 1 - field
    return _masked(field, random.choice([0.0, 0.08]))(old, new, random)


def clock(old: Pictures, new: Pictures, random: np.random.Generator) -> Pictures:
    """A hand that goes round once."""
    rows, columns = _grid(*old.shape[1:3])
    turn = (np.arctan2(columns - 0.5, 0.5 - rows) / (2 * np.pi)) % 1
    return _masked(turn.astype(np.float32), random.choice([0.0, 0.04]))(old, new, random)


def push(old: Pictures, new: Pictures, random: np.random.Generator) -> Pictures:
    """The new shot pushes the old one out."""
    axis = int(random.integers(2)) + 1
    ahead = random.random() < 0.5
    size = old.shape[axis]
    mixed = np.empty_like(old)
    for index, share in enumerate(_steps(len(old))):
        moved = round(float(share) * size)
        both = (old[index], new[index]) if ahead else (new[index], old[index])
        start = moved if ahead else size - moved
        strip = np.concatenate(both, axis=axis - 1)
        mixed[index] = np.take(strip, np.arange(start, start + size), axis=axis - 1)
    return mixed


def flash(shot: Pictures, random: np.random.Generator) -> Pictures:
    """A photographer's light: up at once, down within a few frames."""
    fall = np.linspace(random.uniform(0.7, 1), 0.1, len(shot)).astype(np.float32)
    return _blend(shot, np.full_like(shot, 255), fall)


def strobe(shot: Pictures, random: np.random.Generator) -> Pictures:
    """Light and dark in turn."""
    period = int(random.integers(2, 6))
    dark = (np.arange(len(shot)) // period % 2).astype(np.float32) * random.uniform(0.6, 0.95)
    return _blend(shot, np.zeros_like(shot), dark.astype(np.float32))


def whip_pan(shot: Pictures, random: np.random.Generator) -> Pictures:
    """The camera sweeps to the side and back, blurred by its speed."""
    width = shot.shape[2]
    sweep = np.sin(np.linspace(0, np.pi, len(shot) + 2))[1:-1] * random.uniform(0.6, 1.2) * width
    speed = np.abs(np.gradient(sweep)) if len(shot) > 1 else sweep
    swept = np.empty_like(shot)
    for index, picture in enumerate(shot):
        # Mirrored at its sides, the picture goes on for ever without a seam.
        wide = np.concatenate([picture, picture[:, ::-1]], axis=1)
        columns = (np.arange(width) + round(float(sweep[index]))) % (2 * width)
        reach = max(1, int(speed[index] * 0.5))
        swept[index] = cv2.blur(np.ascontiguousarray(wide[:, columns]), (reach, 1))
    return swept


def fast_zoom(shot: Pictures, random: np.random.Generator) -> Pictures:
    """In, and out again."""
    height, width = shot.shape[1:3]
    factors = 1 + np.sin(np.linspace(0, np.pi, len(shot))) * random.uniform(0.6, 1.6)
    return np.stack(
        [
            cv2.warpAffine(
                picture,
                cv2.getRotationMatrix2D((width / 2, height / 2), 0, float(factor)),
                (width, height),
                borderMode=cv2.BORDER_REFLECT,
            ).astype(np.uint8)
            for picture, factor in zip(shot, factors, strict=True)
        ]
    )


def shake(shot: Pictures, random: np.random.Generator) -> Pictures:
    """A hand-held camera that somebody runs with."""
    height, width = shot.shape[1:3]
    shaken = np.empty_like(shot)
    for index, picture in enumerate(shot):
        x, y = random.normal(0, 0.03, 2) * width
        matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
        moved = cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
        shaken[index] = moved
    return shaken


def caption(shot: Pictures, random: np.random.Generator) -> Pictures:
    """Words appear at once and go at once, on a bar or large across the picture."""
    height, width = shot.shape[1:3]
    titled = shot.copy()
    large = random.random() < 0.4
    top = int(height * (0.3 if large else 0.78))
    for picture in titled:
        if not large:
            cv2.rectangle(picture, (0, top), (width, int(height * 0.94)), (90, 40, 20), -1)
        cv2.putText(
            picture,
            "NOVEMBER" if large else "Live from the harbour",
            (int(width * 0.06), top + int(height * (0.3 if large else 0.11))),
            cv2.FONT_HERSHEY_SIMPLEX,
            height / (90 if large else 330),
            (250, 250, 250),
            max(2, height // (40 if large else 150)),
            cv2.LINE_AA,
        )
    return titled


def flicker(shot: Pictures, random: np.random.Generator) -> Pictures:
    """An old projector or a bad lamp."""
    gains = 1 + random.uniform(-0.15, 0.15, len(shot)).astype(np.float32)
    return _lit(shot, gains)


def exposure(shot: Pictures, random: np.random.Generator) -> Pictures:
    """The camera adapts to the light and back."""
    gains = 1 + np.sin(np.linspace(0, np.pi, len(shot))).astype(np.float32) * 0.8
    return _lit(shot, gains)


def dropout(shot: Pictures, random: np.random.Generator) -> Pictures:
    """The picture is missing."""
    return np.zeros_like(shot)


def freeze(shot: Pictures, random: np.random.Generator) -> Pictures:
    """The first picture stands."""
    frozen = shot.copy()
    frozen[:] = shot[0]
    return frozen


#: Name, the type in the labels, least and most mixed frames.
MIXES: dict[str, tuple[Mix, str, int, int]] = {
    "dissolve": (dissolve, "dissolve", 8, 30),
    "fade_black": (fade(0, 4), "fade_black", 16, 36),
    "fade_white": (fade(255, 2), "fade_white", 12, 28),
    "wipe": (wipe, "wipe", 8, 26),
    "iris": (iris, "iris", 10, 24),
    "clock": (clock, "wipe", 12, 26),
    "push": (push, "push", 7, 18),
}

#: Least and most frames that each lasts.
CHANGES: dict[str, tuple[Change, int, int]] = {
    "flash": (flash, 2, 4),
    "strobe": (strobe, 18, 30),
    "whip_pan": (whip_pan, 8, 14),
    "fast_zoom": (fast_zoom, 8, 14),
    "shake": (shake, 18, 36),
    "caption": (caption, 20, 40),
    "flicker": (flicker, 20, 40),
    "exposure": (exposure, 14, 30),
    "dropout": (dropout, 1, 2),
    "freeze": (freeze, 8, 16),
}
