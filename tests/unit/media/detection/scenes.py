"""Made-up shots, and everything that may stand between or within them, as small pictures."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from reelsplit_server.media.detection.strip import Strip

Pictures = NDArray[np.float32]
"""Shape (frames, 36, 64, 3): luma and both chroma of each pixel."""

BLACK = np.array([16, 128, 128], np.float32)
WHITE = np.array([235, 128, 128], np.float32)


def scene(seed: int, frames: int, *, speed: float = 0.3) -> Pictures:
    """A shot: soft shapes of its own colours that the camera glides over, `speed` pixels a frame,
    with an object of its own that wanders about."""
    random = np.random.default_rng(seed)
    wide = np.empty((72, 160, 3), np.float32)
    for channel, (low, high) in enumerate(((20, 235), (70, 186), (70, 186))):
        coarse = random.uniform(low, high, (6, 12)).astype(np.float32)
        fine = random.normal(0, (high - low) / 16, (24, 52)).astype(np.float32)
        wide[..., channel] = cv2.resize(coarse, (160, 72), interpolation=cv2.INTER_CUBIC)
        wide[..., channel] += cv2.resize(fine, (160, 72), interpolation=cv2.INTER_CUBIC)
    left, top = random.uniform(10, 50), random.uniform(5, 25)
    direction = random.uniform(0, 2 * np.pi)
    place, course = random.uniform(12, 24, 2), random.uniform(-0.3, 0.3, 2)
    colour = random.uniform((30, 90, 90), (220, 166, 166))
    shot = np.empty((frames, 36, 64, 3), np.float32)
    for number in range(frames):
        x = np.clip(left + speed * number * np.cos(direction), 0, 95)
        y = np.clip(top + speed * number * np.sin(direction), 0, 35)
        shot[number] = cv2.getRectSubPix(wide[..., 0], (64, 36), (x + 31.5, y + 17.5))[..., None]
        for channel in (1, 2):
            part = np.ascontiguousarray(wide[..., channel])
            shot[number, ..., channel] = cv2.getRectSubPix(part, (64, 36), (x + 31.5, y + 17.5))
        row, column = (place + course * number).astype(int)
        shot[number, row : row + 8, column * 2 : column * 2 + 10] = colour
    return np.clip(shot, 16, 240)


def shares(frames: int) -> NDArray[np.float32]:
    """How much of the new shot each of the frames in between shows."""
    share: NDArray[np.float32] = (np.arange(1, frames + 1) / (frames + 1)).astype(np.float32)
    return share[:, None, None, None]


def dissolve(old: Pictures, new: Pictures) -> Pictures:
    """From one shot to the other in as many frames as both have."""
    share = shares(len(old))
    return old * (1 - share) + new * share


def blended(old: Pictures, new: Pictures, share: float = 0.5) -> Pictures:
    """One shot, a frame that shows that share of the other one, and the rest of that."""
    mixed = old[-1:] * (1 - share) + new[:1] * share
    return np.concatenate([old[:-1], mixed, new])


def fade_out(shot: Pictures, colour: NDArray[np.float32] = BLACK) -> Pictures:
    share = shares(len(shot))
    return shot * (1 - share) + colour * share


def fade_in(shot: Pictures, colour: NDArray[np.float32] = BLACK) -> Pictures:
    return fade_out(shot[::-1], colour)[::-1]


def plain(frames: int, colour: NDArray[np.float32] = BLACK) -> Pictures:
    return np.broadcast_to(colour, (frames, 36, 64, 3)).copy()


def wipe(old: Pictures, new: Pictures, way: str) -> Pictures:
    """A border passes over the picture: "right", "down", "corner", "iris" or "clock"."""
    rows, columns = np.mgrid[0:36, 0:64]
    x, y = columns / 63, rows / 35
    when = {
        "right": x,
        "down": y,
        "corner": (x + y) / 2,
        "iris": np.hypot((x - 0.5) * 16 / 9, y - 0.5) / 1.03,
        "clock": np.mod(np.arctan2(x - 0.5, y - 0.5) / (2 * np.pi), 1.0),
    }[way]
    covered = when[None, :, :, None] < shares(len(old))
    return np.where(covered, new, old)


def push(old: Pictures, new: Pictures) -> Pictures:
    """The new shot comes in from the right and moves the old one out."""
    moved = np.empty_like(old)
    for number, share in enumerate(shares(len(old)).ravel()):
        edge = round(64 * (1 - float(share)))
        moved[number, :, :edge] = old[number, :, 64 - edge :]
        moved[number, :, edge:] = new[number, :, : 64 - edge]
    return moved


def pan(seed: int, frames: int, *, still: int = 20, blur: bool = False) -> Pictures:
    """A camera that rests, swings over one wide scene in `frames` frames, and rests again."""
    random = np.random.default_rng(seed)
    coarse = random.uniform((20, 90, 90), (235, 166, 166), (8, 40, 3)).astype(np.float32)
    wide = cv2.resize(coarse, (320, 36), interpolation=cv2.INTER_CUBIC)
    way = np.concatenate([np.zeros(still), np.linspace(0, 1, frames), np.ones(still)])
    smooth = way * way * (3 - 2 * way) * 120
    pictures = []
    for at, speed in zip(smooth, np.gradient(smooth), strict=True):
        left = round(float(at))
        picture = wide[:, left : left + 64]
        if blur and speed > 1:
            picture = cv2.blur(wide, (int(speed) | 1, 1))[:, left : left + 64]
        pictures.append(picture)
    return np.clip(np.stack(pictures), 16, 240)


def strip(pictures: Pictures | Iterable[Pictures], *, first: int = 0, noise: float = 0.5) -> Strip:
    """The pictures with a little noise, as a decoder would give them."""
    parts = pictures if isinstance(pictures, np.ndarray) else np.concatenate(list(pictures))
    random = np.random.default_rng(len(parts))
    noisy = parts + random.normal(0, noise, parts.shape)
    eight = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    halves = noisy[..., 1:].reshape(len(parts), 18, 2, 32, 2, 2).mean(axis=(2, 4))
    chroma = np.clip(np.rint(halves), 0, 255).astype(np.uint8)
    return Strip(
        first=first,
        pts=np.arange(first, first + len(parts), dtype=np.int64),
        y=np.ascontiguousarray(eight[..., 0]),
        u=np.ascontiguousarray(chroma[..., 0]),
        v=np.ascontiguousarray(chroma[..., 1]),
    )
