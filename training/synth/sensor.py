"""From light to a camera's picture: exposure, lens, noise, and what a phone's or dashcam's processor makes of it.

The order is a real camera's: metering, stray light, lens, sensor noise, white balance, noise reduction, tone curve,
sharpening. Noise is added to the square root of the light, where shot noise has the same strength everywhere
(Anscombe's transform); from there on all is 8 bits. Compression is the video encoder's.

Geometry: a picture point is where the lens model puts it. Blur from defocus and vibration is symmetric, so that labels
stay true to well below 0.3 px; a rolling shutter is left out for the same reason.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from dashgaze.geometry import Camera, Floats
from dashgaze.training.synth.records import LightKind
from dashgaze.training.synth.rig import Device

Image = NDArray[np.uint8]
Radiance = NDArray[np.float32]

SMALL: Final = 8
"""Exposure, stray light and local contrast work on a picture this much smaller."""
TILE_PX: Final = (960, 1664)
"""Height and width of the noise tiles; pictures cut pieces out of them at random."""
SPILL_RADII: Final = (3.0, 14.0)
"""Of light that spills around what is too bright, in pixels of the small picture."""
FULL: Final = 1.0
"""Radiance after exposure at which the sensor is full."""
MID_GREY: Final = 0.18


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the automatic exposure has settled on: the picture's factor on radiance, and when."""

    gain: float
    t_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Sensor:
    """The parameters of one camera in one drive; `plan_sensor` draws them."""

    infrared: bool
    target: float
    """Luminance that metering aims at."""
    face_weight: float
    """Share of the face box in metering, where there is one."""
    settle_s: float
    """Time constant of the exposure; darkening is twice as fast."""
    gain_range: tuple[float, float]
    base_gain: float
    """Below it the sensor gathers as much light as it can hold; above it, less and less."""
    full_well: float
    """Electrons of a pixel at base gain, in an output pixel."""
    read_noise: float
    """Electrons."""
    flare: float
    """Share of the mean light that veils the picture."""
    bloom: float
    """Share of what is too bright that spills over."""
    local_contrast: float
    """How far the processor evens out bright and dark regions: 0 not at all."""
    vignette: float
    """Share of light that is missing in the corners."""
    led_falloff: float
    """In infrared: share of the LEDs' light that is missing in the corners."""
    defocus_px: float
    shake_px: float
    """Length of the vibration's blur by day; longer exposures have more."""
    colour_gains: tuple[float, float, float]
    """Errors of the white balance, red, green, blue."""
    saturation: float
    contrast: float
    """Steepness of the S-curve."""
    black: float
    """Level of black in the output."""
    sharpening: float
    denoise: float
    """Strength of noise reduction, about 1."""
    curves: Image = field(repr=False)
    """(1, 256, 3) from the square root of light to output, blue, green, red."""

    def expose(
        self, radiance: Radiance, before: Exposure | None, t_s: float, face_box: tuple[float, ...] | None = None
    ) -> Exposure:
        """Exposure for a frame at `t_s`, given that of the frame before; the first frame is settled.

        `face_box` is x0 y0 x1 y1 in pixels of `radiance`.
        """
        small = _small(radiance)
        wanted = self.target / max(_metered(small, face_box, self.face_weight), 1e-6)
        wanted = float(np.clip(wanted, *self.gain_range))
        if before is None:
            return Exposure(wanted, t_s)
        settle_s = self.settle_s if wanted > before.gain else self.settle_s / 2
        share = 1 - np.exp(-max(t_s - before.t_s, 0) / settle_s)
        return Exposure(float(before.gain * (wanted / before.gain) ** share), t_s)

    def develop(
        self, radiance: Radiance, pinhole: Camera, camera: Camera, exposure: Exposure, rng: np.random.Generator
    ) -> Image:
        """Picture (h, w, 3) BGR of `camera` from linear light (.., .., 3) RGB of the `pinhole` that covers it."""
        light = radiance[..., 0] if self.infrared else radiance
        light = self._stray(np.ascontiguousarray(light, dtype=np.float32), exposure)
        light = self._through_lens(light, pinhole, camera)
        light = self._blurred(light, exposure, rng)
        coded = self._noisy(light, exposure, rng)
        picture = cv2.LUT(coded, self.curves[..., 0] if self.infrared else self.curves)
        return self._processed(np.asarray(picture, dtype=np.uint8), exposure)

    def _stray(self, light: Radiance, exposure: Exposure) -> Radiance:
        """Exposed light with veil, bloom and evened-out regions; a new array without NaN."""
        height, width = light.shape[:2]
        small = np.clip(_small(light) * np.float32(exposure.gain), 0, 30)
        spill = np.clip(small - FULL, 0, 8)
        glow = self.flare * np.minimum(small, 4).mean(axis=(0, 1)) + self.bloom * sum(
            cv2.GaussianBlur(spill, (0, 0), radius) for radius in SPILL_RADII
        )
        factor = self._evening(small) * np.float32(exposure.gain)
        lit = _large(factor, (width, height), 1 if light.ndim == 2 else 3)
        cv2.multiply(light, lit, dst=lit)
        cv2.patchNaNs(lit, 0.0)
        cv2.add(lit, _large(glow.astype(np.float32), (width, height)), dst=lit)
        return lit

    def _evening(self, small: Radiance) -> Radiance:
        """Factor of each region: the processor lifts dark ones and holds bright ones back; the lens darkens corners."""
        grey = small if small.ndim == 2 else small @ np.array([0.3, 0.6, 0.1], np.float32)
        region = cv2.GaussianBlur(np.log(np.clip(grey, 0.01, 4.0)), (0, 0), 9)
        factor = np.exp(-self.local_contrast * (region - np.log(MID_GREY)))
        rows, columns = grey.shape
        y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
        square = (x * x * 0.76 + y * y * 0.24).astype(np.float32)
        falloff = 1 - (self.vignette + self.led_falloff * self.infrared) * square
        return np.asarray(factor * np.maximum(falloff, 0.1), dtype=np.float32)

    def _through_lens(self, light: Radiance, pinhole: Camera, camera: Camera) -> Radiance:
        if pinhole is camera:
            return light
        x, y = lens_maps(pinhole, camera)
        bent = cv2.remap(light, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(bent, dtype=np.float32)

    def _blurred(self, light: Radiance, exposure: Exposure, rng: np.random.Generator) -> Radiance:
        """Defocus and the blur of vibration: one symmetric kernel."""
        length = self.shake_px * min(exposure.gain / self.base_gain, 4.0) ** 0.5 * abs(rng.normal())
        direction = rng.normal(size=2) * (0.5, 1.0)
        direction *= min(length, 5.0) / 2 / max(np.linalg.norm(direction), 1e-6)
        if self.defocus_px < 0.25 and length < 0.5:
            return light
        kernel = _kernel(self.defocus_px, direction)
        return np.asarray(cv2.filter2D(light, -1, kernel, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)

    def _noisy(self, light: Radiance, exposure: Exposure, rng: np.random.Generator) -> Image:
        """Square root of the light in 8 bits (BGR or grey) with shot and read noise; what is too bright is cut off.

        Where n electrons fill a pixel, a signal s has variance s / n + (r / n)^2 with read noise r. Its root has
        1 / (4 n) from the shot noise; the read noise, strongest in the dark, is spread evenly as at s = 0.04.
        """
        electrons = self.full_well / max(exposure.gain / self.base_gain, 1.0)
        sd = 255 * np.sqrt(1 / (4 * electrons) + (self.read_noise / electrons) ** 2 / (4 * 0.04)) / self.denoise
        height, width = light.shape[:2]
        root = cv2.sqrt(np.clip(light, 0, FULL, out=light))
        grain = _cut(0, height, width, rng)
        blots = [] if self.infrared else [_cut(number, height, width, rng) for number in (1, 2, 3)]
        noise = cv2.merge([cv2.addWeighted(grain, 0.75, blot, 0.65, 0) for blot in blots]) if blots else grain
        level = np.asarray(cv2.addWeighted(root, 255.0, noise, sd, 0.5, dst=root))
        coded = np.clip(level, 0, 255, out=level).astype(np.uint8)
        return coded if self.infrared else np.asarray(cv2.cvtColor(coded, cv2.COLOR_RGB2BGR), dtype=np.uint8)

    def _processed(self, picture: Image, exposure: Exposure) -> Image:
        """Noise reduction of colour, more of it in the dark, and sharpening of brightness."""
        if self.infrared:
            return np.asarray(cv2.cvtColor(self._sharpened(picture), cv2.COLOR_GRAY2BGR), dtype=np.uint8)
        height, width = picture.shape[:2]
        luma, *chroma = cv2.split(cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb))
        shrink = 2 if exposure.gain < 2 * self.base_gain else 4
        size = (width // shrink, height // shrink)
        # Less colour in the dark, as processors do to hide its noise.
        saturation = self.saturation * (1 - 0.07 * float(np.clip(np.log2(exposure.gain / self.base_gain), 0, 4)))
        table = np.clip((np.arange(256) - 128) * saturation + 128.5, 0, 255).astype(np.uint8)
        smooth = [
            cv2.resize(cv2.LUT(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), table), (width, height))
            for plane in chroma
        ]
        whole = cv2.merge([self._sharpened(np.asarray(luma, dtype=np.uint8)), *smooth])
        return np.asarray(cv2.cvtColor(whole, cv2.COLOR_YCrCb2BGR), dtype=np.uint8)

    def _sharpened(self, luma: Image) -> Image:
        if self.sharpening <= 0:
            return luma
        soft = cv2.GaussianBlur(luma, (0, 0), 1.1)
        return np.asarray(cv2.addWeighted(luma, 1 + self.sharpening, soft, -self.sharpening, 0), dtype=np.uint8)


def plan_sensor(rng: np.random.Generator, device: Device, kind: LightKind) -> Sensor:
    """Draw a camera and its settings; dashcams are simpler than phones."""
    phone, infrared = device == "phone", kind == "infrared"
    contrast, black = rng.uniform(0.0, 0.4), rng.uniform(0.0, 0.03)
    warmth, tint = rng.normal(0, 0.05), rng.normal(0, 0.02)
    if kind in ("night", "dusk"):  # lamps are corrected only in part
        warmth += rng.normal(0, 0.06)
    colour_gains = (float(np.exp(warmth + tint)), float(np.exp(-tint)), float(np.exp(-warmth + tint)))
    base_gain = 0.4 if infrared else 1.5
    return Sensor(
        infrared=infrared,
        target=float(MID_GREY * np.exp(rng.normal(0.0, 0.25))),
        face_weight=float(rng.uniform(0.35, 0.9) if phone else rng.uniform(0.0, 0.4)),
        settle_s=float(rng.uniform(0.25, 0.9)),
        gain_range=(0.05, float(rng.uniform(14, 40) if phone else rng.uniform(8, 25))),
        base_gain=base_gain,
        full_well=float(np.exp(rng.uniform(*np.log((8e3, 4e4) if phone and not infrared else (2.5e3, 9e3))))),
        read_noise=float(rng.uniform(2, 6)),
        flare=float(rng.uniform(0.004, 0.03)),
        bloom=float(rng.uniform(0.004, 0.03)),
        local_contrast=float(rng.uniform(0.1, 0.4) if phone and not infrared else rng.uniform(0.0, 0.15)),
        vignette=float(rng.uniform(0.05, 0.25) if phone else rng.uniform(0.15, 0.45)),
        led_falloff=float(rng.uniform(0.15, 0.45)),
        defocus_px=float(abs(rng.normal(0.3, 0.25)) if phone else rng.uniform(0.3, 1.1)),
        shake_px=float(rng.uniform(0.1, 1.0)),
        colour_gains=colour_gains,
        saturation=float(rng.uniform(0.85, 1.2)),
        contrast=float(contrast),
        black=float(black),
        sharpening=float(rng.uniform(0.2, 1.0) if phone else rng.uniform(0.0, 0.8)),
        denoise=float(rng.uniform(0.9, 1.8)),
        curves=tone_curves(colour_gains, contrast, black),
    )


def tone_curves(colour_gains: tuple[float, float, float], contrast: float, black: float) -> Image:
    """(1, 256, 3) table, blue green red, from the square root of light to output: gains, sRGB, an S-curve, black."""
    light = (np.arange(256) / 255) ** 2
    balanced = np.clip(light[:, None] * np.array(colour_gains)[::-1], 0, 1)
    encoded = np.where(balanced <= 0.0031308, 12.92 * balanced, 1.055 * balanced ** (1 / 2.4) - 0.055)
    curved = (1 - contrast) * encoded + contrast * encoded**2 * (3 - 2 * encoded)
    table: Image = np.round(255 * (black + (1 - black) * curved)).astype(np.uint8)[None]
    return table


def develop_parts(parts: NDArray[np.uint8], pinhole: Camera, camera: Camera) -> NDArray[np.uint8]:
    """The label image (h, w) of `camera`, by the same way through the lens as the picture; nearest neighbour."""
    if pinhole is camera:
        return parts
    x, y = lens_maps(pinhole, camera)
    return np.asarray(cv2.remap(parts, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


@lru_cache(maxsize=2)
def lens_maps(pinhole: Camera, camera: Camera) -> tuple[Radiance, Radiance]:
    """Where each pixel of `camera` lies in the picture of the `pinhole` that covers it: x and y (h, w).

    The lens model is inverted on every fourth pixel and interpolated: exact to 0.01 px.
    """
    step = 4
    width, height = camera.size_px
    columns, rows = -(-width // step) + 1, -(-height // step) + 1
    at = np.stack(np.meshgrid(np.arange(columns) * step, np.arange(rows) * step), axis=-1).astype(float)
    coarse = np.nan_to_num(pinhole.project(camera.rays(at)), nan=-1.0)
    down, across = _between(height, rows, step), _between(width, columns, step)
    x, y = (np.ascontiguousarray(down @ coarse[..., axis] @ across.T, dtype=np.float32) for axis in (0, 1))
    return x, y


def _between(count: int, coarse: int, step: int) -> Floats:
    """(count, coarse) weights of linear interpolation."""
    index, share = np.divmod(np.arange(count), step)
    weights = np.zeros((count, coarse))
    weights[np.arange(count), index] = 1 - share / step
    weights[np.arange(count), index + 1] = share / step
    return weights


def _small(light: Radiance) -> Radiance:
    """Means of squares of `SMALL` pixels, without NaN."""
    height, width = light.shape[:2]
    size = (max(width // SMALL, 1), max(height // SMALL, 1))
    small = np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
    return np.nan_to_num(small, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _metered(small: Radiance, face_box: tuple[float, ...] | None, face_weight: float) -> float:
    """Brightness that the exposure goes by: the middle counts more, the face most, bright windows less."""
    grey = np.maximum(small if small.ndim == 2 else small @ np.array([0.3, 0.6, 0.1], np.float32), 0) ** 0.6
    rows, columns = grey.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    weights = np.exp(-(x * x + y * y) / 0.8)
    level = float((grey * weights).sum() / weights.sum())
    if face_box is not None:
        x0, y0, x1, y1 = (int(np.clip(value / SMALL, 0, 10_000)) for value in face_box)
        face = grey[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        if face.size:
            level = (1 - face_weight) * level + face_weight * float(face.mean())
    return float(level ** (1 / 0.6))


def _kernel(defocus_px: float, half_stroke: Floats) -> Radiance:
    """Symmetric blur: a Gaussian drawn along a stroke from minus to plus `half_stroke`."""
    reach = int(np.ceil(np.abs(half_stroke).max() + 2 * defocus_px)) or 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    sd = max(defocus_px, 0.35)
    kernel = sum(
        np.exp(-((x - k * half_stroke[0]) ** 2 + (y - k * half_stroke[1]) ** 2) / (2 * sd * sd))
        for k in np.linspace(-1, 1, 9)
    )
    return np.asarray(kernel / np.sum(kernel), dtype=np.float32)


@lru_cache(maxsize=1)
def _tiles() -> tuple[Radiance, ...]:
    """Noise of standard deviation 1: one fine tile, for brightness, and three at half resolution, for the colours."""
    rng = np.random.default_rng(20)
    height, width = TILE_PX
    fine = cv2.GaussianBlur(rng.standard_normal((height, width), np.float32), (0, 0), 0.45)
    tiles = [fine] + [
        cv2.resize(rng.standard_normal((height // 2, width // 2), np.float32), (width, height)) for _ in range(3)
    ]
    return tuple(np.asarray(tile / tile.std(), dtype=np.float32) for tile in tiles)


def _cut(number: int, height: int, width: int, rng: np.random.Generator) -> Radiance:
    """A piece of a noise tile at a random place, turned over at random."""
    tile = _tiles()[number]
    rows, columns = tile.shape
    if height > rows or width > columns:
        tile = np.tile(tile, (-(-height // rows), -(-width // columns)))
        rows, columns = tile.shape
    top, left = int(rng.integers(rows - height + 1)), int(rng.integers(columns - width + 1))
    piece = tile[top : top + height, left : left + width]
    flip = int(rng.integers(4))
    return piece if flip == 3 else np.asarray(cv2.flip(piece, flip - 1), dtype=np.float32)


def _large(small: Radiance, size: tuple[int, int], channels: int = 1) -> Radiance:
    large = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.merge([large] * channels) if channels > 1 else large, dtype=np.float32)
