"""What the shaders look up: noise, and pictures of trees for upright cards."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dashgaze.geometry import Floats
from dashgaze.training.synth.road.things import TREES

_SIZE = 256
_BARK = (0.09, 0.07, 0.05)
_LEAF = np.array([0.075, 0.12, 0.035])
_NEEDLE = np.array([0.035, 0.07, 0.035])


def noise(size: int = 512) -> NDArray[np.uint8]:
    """(512, 512, 4) noise that tiles: three of equal energy per octave, ever smoother, and white noise last."""
    rng = np.random.default_rng(5)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size) * size, np.fft.rfftfreq(size) * size, indexing="ij"))
    fields = []
    for power, lowest in ((1.0, 6.0), (1.35, 2.0), (1.7, 2.0), (0.0, 0.0)):
        spectrum = np.fft.rfft2(rng.normal(size=(size, size)))
        spectrum *= np.where(frequency >= lowest, np.maximum(frequency, 1) ** -power, 0)
        field = np.fft.irfft2(spectrum, (size, size))
        fields.append(0.5 + 0.17 * (field - field.mean()) / field.std())
    return np.asarray(np.round(np.clip(np.stack(fields, axis=-1), 0, 1) * 255), np.uint8)


def tree_cards() -> NDArray[np.uint8]:
    """(256, 256 k, 4) cards of `TREES` side by side: albedo, premultiplied, and opacity."""
    rng = np.random.default_rng(20)
    return np.concatenate([_card(rng, name) for name in TREES], axis=1)


def _card(rng: np.random.Generator, name: str) -> NDArray[np.uint8]:
    """Draw at twice the size, so that twigs get soft edges."""
    canvas = np.zeros((2 * _SIZE, 2 * _SIZE, 4), np.float32)
    if name != "bush":
        _trunk(canvas, rng, thin=name == "conifer")
    leaves, shade = _foliage(rng, name)
    tone = _NEEDLE if name == "conifer" else _LEAF
    radius = {"conifer": 3.6, "poplar": 4.2}.get(name, 4.8)
    for (x, y), lit in zip(leaves, shade, strict=True):
        rgb = tone * lit * rng.uniform(0.75, 1.3) * [1, rng.uniform(0.9, 1.15), 1]
        centre = (round(float(x) * 2 * _SIZE), round(float(1 - y) * 2 * _SIZE))
        axes = (round(rng.uniform(0.5, 1.2) * radius), round(rng.uniform(0.4, 0.9) * radius))
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, (*rgb.tolist(), 1.0), -1)
    small = cv2.resize(canvas, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    # Dark albedo uses few of 255 steps: cards are stored four times as bright, and the shader divides.
    small[..., :3] *= 4
    small[0] = small[:, 0] = small[:, -1] = 0
    return np.asarray(np.round(np.clip(small, 0, 1) * 255), np.uint8)


def _trunk(canvas: NDArray[np.float32], rng: np.random.Generator, *, thin: bool) -> None:
    middle, size = _SIZE, 2 * _SIZE
    cv2.line(canvas, (middle, size), (middle, size // 3), (*_BARK, 1.0), 7 if thin else 14)
    for _ in range(0 if thin else 9):
        start, rise = int(rng.uniform(0.4, 0.72) * size), int(rng.uniform(0.12, 0.25) * size)
        aside = int(rng.choice([-1, 1]) * rng.uniform(0.08, 0.26) * size)
        cv2.line(canvas, (middle, start), (middle + aside, start - rise), (*_BARK, 1.0), 5)


def _foliage(rng: np.random.Generator, name: str) -> tuple[Floats, Floats]:
    """Places (n, 2) of leaves, x and height from 0 to 1, and how much light each gets, back to front."""
    if name == "conifer":
        up = 1 - np.sqrt(rng.random(5000)) * 0.92
        tier = 0.75 + 0.25 * np.abs(np.sin(up * 26))
        half = 0.44 * (1 - up) / 0.92 * tier + 0.01
        x = 0.5 + half * rng.uniform(-1, 1, 5000)
        lit = 0.5 + 0.8 * np.abs(np.sin(up * 26 + 0.6)) + 0.5 * (x - 0.5)
        order = np.argsort(-up)[::-1]
        return np.column_stack([x, up])[order], lit[order]
    clumps = {"broadleaf": 30, "poplar": 26, "bush": 16}[name]
    middle, spread = {
        "broadleaf": ((0.5, 0.63), (0.33, 0.25)),
        "poplar": ((0.5, 0.56), (0.26, 0.34)),
        "bush": ((0.5, 0.4), (0.34, 0.3)),
    }[name]
    turn, away = rng.uniform(0, 2 * np.pi, clumps), np.sqrt(rng.random(clumps))
    centres = np.column_stack(
        [middle[0] + spread[0] * away * np.cos(turn), middle[1] + spread[1] * away * np.sin(turn)]
    )
    centres = centres[np.argsort(-centres[:, 1])]
    radii = rng.uniform(0.09, 0.15, clumps)
    offsets = rng.normal(0, 0.5, (clumps, 240, 2)).clip(-1.1, 1.1)
    leaves = centres[:, None] + offsets * radii[:, None, None]
    lit = 0.62 + 0.42 * offsets[..., 1] + 0.55 * (centres[:, None, 1] - middle[1]) / spread[1] * 0.5 + 0.15
    lit += 0.12 * offsets[..., 0]
    order = np.argsort(offsets[..., 1], axis=1)
    leaves, lit = np.take_along_axis(leaves, order[..., None], axis=1), np.take_along_axis(lit, order, axis=1)
    return leaves.reshape(-1, 2).clip(0.02, 0.98), lit.reshape(-1).clip(0.15, 1.6)
