"""Changes to batches of training samples: what other cabins, cameras and landmarks would have made of the same gaze.

In the order of a picture's way: mirror world, crop, hands and reflections, lens, light and sensor, codec. Face, eyes
and driver view are of one camera at one moment, so they share light, noise, blur and occluders; places are in
millimetres of the virtual view of `device.crops`, in which all crops lie. The network standardises each picture: what
counts of brightness is what it does to noise, clipping and rounding. One generator draws everything, for whole batches.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dashgaze.device.crops import EYE_MM, FACE_DOWN_MM, FACE_MM, LANDMARK_UNIT_MM
from dashgaze.device.mesh import LEFT_CORNERS, RIGHT_CORNERS
from dashgaze.training.gaze.config import AugmentationConfig
from dashgaze.training.gaze.model import PICTURES, Truth

_EYES = ("right_eye", "left_eye")
_CROPS = ("face", *_EYES)
_SIZE_MM = {"face": (FACE_MM, FACE_MM), "right_eye": EYE_MM, "left_eye": EYE_MM}
_USUAL_EYE_MM = 32.0
_NOISE_LEFT = {"right_eye": 1.0, "left_eye": 1.0, "face": 0.4, "driver": 0.15}
"""What averaging leaves of a pixel's noise: an eye crop has about the picture's own pixels, the others many in one."""
_FINER_EYE = 0.27  # an eye pixel in face pixels

# Mirroring turns a rotation R into S R S with S = diag(-1, 1, 1); `device.crops.mirrored` is the same for one sample.
_FIVE_ORDER = [1, 0, 2, 4, 3]
_POSE_SIGNS = torch.tensor([1.0, -1, -1, -1, 1, 1, -1, 1, 1])
_TURN_SIGNS = torch.tensor([[1.0, -1, -1], [-1, 1, 1], [-1, 1, 1]])
_X_SIGN = torch.tensor([-1.0, 1.0])


def augment(
    inputs: Mapping[str, Tensor],
    truth: Truth,
    config: AugmentationConfig,
    generator: torch.Generator,
    order: NDArray[np.intp],
) -> tuple[dict[str, Tensor], Truth]:
    """Changed copies of a batch on the CPU, the same again from the same generator state.

    `inputs` holds all or some of `model.INPUTS`, pictures as uint8 (N, channels, height, width); `order` is
    `device.crops.mirror_order`. Only mirroring changes the truth; samples with one eye alone are not mirrored, as the
    other's picture would be needed.
    """
    one_eye = ("right_eye" in inputs) != ("left_eye" in inputs)
    draw = _Draw(generator, len(truth.session))
    inputs, truth = mirror(inputs, truth, draw.some(0.0 if one_eye else config.flip), order)
    pictures = {name: inputs[name].float() for name in PICTURES if name in inputs}
    places = _places(inputs, len(truth.session))
    _jitter(pictures, config.jitter_px, draw)
    _occlude(pictures, places, draw.some(config.occlusion), draw)
    _dazzle(pictures, places, draw.some(config.glare), draw)
    _blur(pictures, draw.some(config.blur), draw)
    _expose(pictures, places, draw.some(config.photometric), draw.some(config.low_light), draw)
    inputs |= {name: picture.clamp_(0, 255).round_().to(torch.uint8) for name, picture in pictures.items()}
    _compress(inputs, draw.some(config.compression), draw)
    _blank(inputs, draw.some(config.blank), draw)
    return _shake_landmarks(inputs, config.landmark_noise, draw), truth


def mirror(
    inputs: Mapping[str, Tensor], truth: Truth, chosen: Tensor, order: NDArray[np.intp]
) -> tuple[dict[str, Tensor], Truth]:
    """Copies in which samples number `chosen` are those of the mirrored world: the driver's right becomes left."""
    mirrored = {name: values.clone() for name, values in inputs.items()}
    labels = Truth(*(part.clone() for part in truth))
    if not len(chosen):
        return mirrored, labels
    for name in PICTURES:
        if name in inputs:
            other = {"right_eye": "left_eye", "left_eye": "right_eye"}.get(name, name)
            mirrored[name][chosen] = inputs[other][chosen].flip(-1)
    if "mesh" in inputs:
        mirrored["mesh"][chosen] = inputs["mesh"][chosen][:, torch.from_numpy(order)] * _X_SIGN
    if "five" in inputs:
        mirrored["five"][chosen] = inputs["five"][chosen][:, _FIVE_ORDER] * _X_SIGN
    if "pose" in inputs:
        mirrored["pose"][chosen] *= _POSE_SIGNS
    for angles in (labels.ray_deg, labels.face_deg, labels.road_deg):
        angles[chosen, 0] *= -1
    labels.location[chosen, 0] = 1 - labels.location[chosen, 0]
    labels.road_from_view[chosen] *= _TURN_SIGNS
    return mirrored, labels


class _Draw:
    """Random numbers of a batch."""

    def __init__(self, generator: torch.Generator, count: int) -> None:
        self._generator, self.count = generator, count

    def some(self, probability: float) -> Tensor:
        """Numbers of the samples that something happens to."""
        return torch.nonzero(torch.rand(self.count, generator=self._generator) < probability)[:, 0]

    def uniform(self, low: float, high: float, *size: int) -> Tensor:
        return low + (high - low) * torch.rand(size, generator=self._generator)

    def log_uniform(self, low: float, high: float, *size: int) -> Tensor:
        return self.uniform(float(np.log(low)), float(np.log(high)), *size).exp()

    def normal(self, deviation: float, *size: int) -> Tensor:
        return deviation * torch.randn(size, generator=self._generator)

    def below(self, end: int, *size: int) -> Tensor:
        return torch.randint(end, size, generator=self._generator)


def _places(inputs: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Middles (N, 2) of the crops in the virtual view, mm."""
    middle = torch.tensor([0.0, FACE_DOWN_MM]).expand(count, 2)
    if "mesh" in inputs:
        right, left = (inputs["mesh"][:, list(c)].mean(dim=1) * LANDMARK_UNIT_MM for c in (RIGHT_CORNERS, LEFT_CORNERS))
    else:
        left = torch.tensor([_USUAL_EYE_MM, 0.0]).expand(count, 2)
        right = left * _X_SIGN
    return {"face": middle, "right_eye": right, "left_eye": left}


# --- crop ---

_JITTERED = 0.7  # interpolation softens: some samples stay as sharp as the device's
_SCALE_JITTER = 0.02


def _jitter(pictures: dict[str, Tensor], jitter_px: float, draw: _Draw) -> None:
    """Crops a little beside where they should be, a little larger or smaller: errors of landmarks and distance."""
    if not jitter_px:
        return
    chosen = draw.some(_JITTERED)
    scale = 1 + draw.normal(_SCALE_JITTER, len(chosen), 1)
    for name in _CROPS:
        shift_px = draw.normal(jitter_px, len(chosen), 2)
        if name in pictures and len(chosen):
            picture = pictures[name][chosen]
            height, width = picture.shape[-2:]
            x = _span(width) * scale + 2 / width * shift_px[:, :1]
            y = _span(height) * scale + 2 / height * shift_px[:, 1:]
            grid = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], dim=-1)
            pictures[name][chosen] = functional.grid_sample(picture, grid, padding_mode="border", align_corners=False)


def _span(count: int) -> Tensor:
    """Middles of so many pixels between -1 and 1."""
    return (2 * torch.arange(count) + 1) / count - 1


# --- before the camera ---


@dataclass(frozen=True, slots=True)
class _Patches:
    """Superellipses in the virtual view, one for each of k samples."""

    centre_mm: Tensor
    """(k, 2)"""
    radii_mm: Tensor
    """(k, 2)"""
    angle_rad: Tensor
    power: Tensor
    """2 is an ellipse, large is a rectangle."""
    softness: Tensor
    """0 is a hard edge, 1 a spot that fades from its middle."""

    def cover(self, middle_mm: Tensor, size_mm: tuple[float, float], shape: torch.Size) -> Tensor:
        """How much of each pixel of crops (k, ...) about `middle_mm` (k, 2) they cover, (k, 1, height, width)."""
        x, y = _pixels_mm(middle_mm - self.centre_mm, size_mm, shape)
        c, s = self.angle_rad.cos()[:, None, None], self.angle_rad.sin()[:, None, None]
        a, b = self.radii_mm[:, 0, None, None], self.radii_mm[:, 1, None, None]
        power = self.power[:, None, None]
        reach = ((x * c + y * s) / a).abs() ** power + ((y * c - x * s) / b).abs() ** power
        return ((1 - reach) / self.softness[:, None, None].clamp_min(0.02)).clamp(0, 1)[:, None]


def _pixels_mm(middle_mm: Tensor, size_mm: tuple[float, float], shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Places x (k, 1, width) and y (k, height, 1) of the pixels of crops about `middle_mm` (k, 2)."""
    height, width = shape[-2:]
    x, y = _span(width) * (size_mm[0] / 2), _span(height) * (size_mm[1] / 2)
    return middle_mm[:, 0, None, None] + x, middle_mm[:, 1, None, None] + y[:, None]


def _occlude(pictures: dict[str, Tensor], places: Mapping[str, Tensor], chosen: Tensor, draw: _Draw) -> None:
    """A hand, a phone, hair or a sun visor over part of the face: skin-like to black, with some texture."""
    count = len(chosen)
    if not count or "face" not in pictures:
        return
    patches = _Patches(
        centre_mm=torch.stack([draw.uniform(-95, 95, count), draw.uniform(-70, 120, count)], dim=1),
        radii_mm=torch.stack([draw.uniform(22, 65, count), draw.uniform(9, 30, count)], dim=1),
        angle_rad=draw.uniform(-np.pi / 2, np.pi / 2, count),
        power=2.0 + 4 * draw.below(2, count),
        softness=draw.uniform(0.03, 0.25, count),
    )
    usual = pictures["face"][chosen].mean(dim=(1, 2, 3), keepdim=True)
    colour = usual * draw.log_uniform(0.25, 1.3, count, 1, 1, 1)
    texture = 1 + draw.normal(0.12, count, 1, 5, 5)
    for name in _CROPS:
        if name in pictures:
            alpha = patches.cover(places[name][chosen], _SIZE_MM[name], pictures[name].shape)
            shades = functional.interpolate(texture, pictures[name].shape[-2:], mode="bilinear", align_corners=False)
            pictures[name][chosen] = torch.lerp(pictures[name][chosen], colour * shades, alpha)


def _dazzle(pictures: dict[str, Tensor], places: Mapping[str, Tensor], chosen: Tensor, draw: _Draw) -> None:
    """Reflections as on glasses, on one eye or both: a spot, a streak, or a veil."""
    count = len(chosen)
    if not count:
        return
    small, streak = draw.log_uniform(1.5, 6, count), draw.log_uniform(8, 30, count)
    radii = torch.stack(
        [
            torch.stack([small * draw.uniform(1, 2.5, count), small], dim=1),
            torch.stack([streak, draw.uniform(0.8, 3, count)], dim=1),
            torch.stack([draw.uniform(15, 32, count), draw.uniform(10, 22, count)], dim=1),
        ]
    )
    kind = draw.below(3, count)
    veil = kind == 2
    strength = torch.where(veil, draw.uniform(15, 80, count), draw.uniform(60, 255, count))[:, None, None, None]
    angle = torch.where(veil, draw.normal(0.2, count), draw.uniform(-0.8, 0.8, count))
    offset = torch.stack([draw.normal(9, count), draw.normal(5, count)], dim=1)
    number = torch.arange(count)
    both = draw.below(3, count) > 0
    first = draw.below(2, count)
    for side, name in enumerate(_EYES):
        lit = (both | (first == side)).float()[:, None, None, None]
        patches = _Patches(
            centre_mm=places[name][chosen] + offset + draw.normal(2.0, count, 2),
            radii_mm=radii[kind, number],
            angle_rad=angle,
            power=torch.full((count,), 2.0),
            softness=draw.uniform(0.4, 1, count),
        )
        for crop in ("face", name):
            if crop in pictures:
                shape = pictures[crop].shape
                pictures[crop][chosen] += lit * strength * patches.cover(places[crop][chosen], _SIZE_MM[crop], shape)


# --- lens ---

_KERNEL_PX = 11


def _blur(pictures: dict[str, Tensor], chosen: Tensor, draw: _Draw) -> None:
    """Defocus, motion, or fewer pixels; widths are in pixels of the eye crops."""
    kind = draw.below(3, len(chosen))
    across = draw.uniform(0.5, 1.8, len(chosen))
    along = torch.where(kind == 1, draw.uniform(1.2, 3.2, len(chosen)), across)
    across = torch.where(kind == 1, torch.full_like(across, 0.4), across)
    angle = draw.uniform(0, np.pi, len(chosen))
    coarser = float(draw.uniform(1.5, 3.0, 1))
    smooth, coarse = kind < 2, chosen[kind == 2]
    for name in _CROPS:
        if name not in pictures:
            continue
        scale = _FINER_EYE if name == "face" else 1.0
        if smooth.any():
            kernels = _gaussians(
                along[smooth] * scale, across[smooth] * scale, angle[smooth], 5 if name == "face" else _KERNEL_PX
            )
            pictures[name][chosen[smooth]] = _convolve(pictures[name][chosen[smooth]], kernels)
        if len(coarse):
            picture = pictures[name][coarse]
            size = picture.shape[-2:]
            factor = max(coarser * scale, 1.0)
            few = functional.interpolate(picture, [round(side / factor) for side in size], mode="area")
            pictures[name][coarse] = functional.interpolate(few, size, mode="bilinear", align_corners=False)


def _gaussians(along: Tensor, across: Tensor, angle_rad: Tensor, size: int) -> Tensor:
    """Normal densities (k, size, size) with two standard deviations in pixels, each with sum 1."""
    axis = torch.arange(size) - (size - 1) / 2
    c, s = angle_rad.cos()[:, None, None], angle_rad.sin()[:, None, None]
    u, v = axis * c + axis[:, None] * s, axis[:, None] * c - axis * s
    density = (-0.5 * ((u / along[:, None, None]) ** 2 + (v / across[:, None, None]) ** 2)).exp()
    return density / density.sum(dim=(1, 2), keepdim=True)


def _convolve(pictures: Tensor, kernels: Tensor) -> Tensor:
    """Each picture (k, channels, height, width) with its own kernel (k, n, n)."""
    count, channels = pictures.shape[:2]
    margin = kernels.shape[-1] // 2
    padded = functional.pad(pictures, [margin] * 4, mode="replicate").flatten(0, 1)[None]
    weights = kernels.repeat_interleave(channels, dim=0)[:, None]
    return functional.conv2d(padded, weights, groups=count * channels).view(pictures.shape)


# --- light and sensor ---

_DARKEST, _BRIGHTEST = 35.0, 170.0
"""Grey levels between which exposure keeps the mean of a face."""
_NIGHT_LEVELS = (12.0, 50.0)
_NIGHT_SIGNAL_TO_NOISE = (4.0, 16.0)
"""Of a pixel as bright as the mean of the face."""


def _expose(
    pictures: dict[str, Tensor], places: Mapping[str, Tensor], chosen: Tensor, dark: Tensor, draw: _Draw
) -> None:
    """Light from a side, exposure, gamma, contrast, noise for `chosen`; little light and its shot noise for `dark`."""
    if not pictures:
        return
    count = draw.count
    some = torch.zeros(count, 1, 1, 1)
    some[chosen] = 1
    level = pictures.get("face", next(iter(pictures.values()))).mean(dim=(1, 2, 3), keepdim=True).clamp_min(1)
    gain = (some * draw.normal(0.35, count, 1, 1, 1)).exp()
    gain = gain.clamp((_DARKEST / level).clamp_max(1), (_BRIGHTEST / level).clamp_min(1))
    gamma = (some * draw.normal(0.25, count, 1, 1, 1)).exp()
    contrast = (some * draw.normal(0.2, count, 1, 1, 1)).exp()
    lift = some * draw.normal(12, count, 1, 1, 1)
    read = some * draw.normal(4, count, 1, 1, 1)
    side = some * draw.normal(0.3, count, 1, 1, 1).clamp(-0.7, 0.7)
    direction = draw.uniform(-np.pi, np.pi, count)[:, None, None]
    edge_mm, width_mm = draw.normal(30, count)[:, None, None], draw.log_uniform(8, 120, count)[:, None, None]
    little, shot = torch.ones(count, 1, 1, 1), torch.zeros(count, 1, 1, 1)
    night = draw.log_uniform(*_NIGHT_LEVELS, len(dark), 1, 1, 1)
    little[dark] = (night / (level * gain)[dark]).clamp_max(1)
    shot[dark] = night / draw.log_uniform(*_NIGHT_SIGNAL_TO_NOISE, len(dark), 1, 1, 1).square()
    for name, picture in pictures.items():
        picture *= gain * (1 + some * draw.normal(0.03, count, picture.shape[1], 1, 1))  # the latter: tint
        if name in places:
            x, y = _pixels_mm(places[name], _SIZE_MM[name], picture.shape)
            lit = functional.softsign((x * direction.cos() + y * direction.sin() - edge_mm) / width_mm)
            picture *= 1 + side * lit[:, None]
        picture.mul_(1 / 255).clamp_(0, 1).pow_(gamma).mul_(255)
        middle = picture.mean(dim=(1, 2, 3), keepdim=True)
        picture.sub_(middle).mul_(contrast).add_(middle + lift).mul_(little)
        variance = (little * read).square() + shot * picture.clamp_min(0)
        picture += variance.sqrt_().mul_(_NOISE_LEFT[name]).mul_(draw.normal(1, *picture.shape))


# --- codec, and what is lost ---


def _compress(inputs: dict[str, Tensor], chosen: Tensor, draw: _Draw) -> None:
    """Blocks of JPEG on eyes and, finer, on the face."""
    quality = draw.uniform(15, 60, len(chosen))
    for name in _CROPS:
        if name in inputs:
            better = 35 if name == "face" else 0
            for number, value in zip(chosen.tolist(), quality.tolist(), strict=True):
                inputs[name][number] = _jpeg(inputs[name][number], round(value) + better)


def _jpeg(picture: Tensor, quality: int) -> Tensor:
    """(channels, height, width) after compression."""
    packed = np.ascontiguousarray(picture.numpy().transpose(1, 2, 0))
    data = cv2.imencode(".jpg", packed, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    flag = cv2.IMREAD_GRAYSCALE if packed.shape[2] == 1 else cv2.IMREAD_COLOR
    found = np.asarray(cv2.imdecode(data, flag), np.uint8).reshape(packed.shape)
    return torch.from_numpy(np.ascontiguousarray(found.transpose(2, 0, 1)))


def _blank(inputs: dict[str, Tensor], chosen: Tensor, draw: _Draw) -> None:
    """One of the pictures is not there: uniform."""
    names = [name for name in PICTURES if name in inputs]
    which = draw.below(max(len(names), 1), len(chosen))
    for number, name in enumerate(names):
        inputs[name][chosen[which == number]] = 128


def _shake_landmarks(inputs: dict[str, Tensor], deviation: float, draw: _Draw) -> dict[str, Tensor]:
    """Errors of the landmarks: place and scale of all of them, and, a third as large, of each."""
    shift, scale = draw.normal(deviation, draw.count, 1, 2), 1 + draw.normal(deviation, draw.count, 1, 1)
    if "mesh" in inputs:
        each = draw.normal(deviation / 3, *inputs["mesh"].shape)
        inputs["mesh"] = inputs["mesh"] * scale + shift + each
    if "five" in inputs:
        five = inputs["five"]
        eyes, mouth = five[:, :2].mean(dim=1, keepdim=True), five[:, 3:].mean(dim=1, keepdim=True)
        unit = (eyes - mouth).norm(dim=2, keepdim=True) * (LANDMARK_UNIT_MM / _EYES_TO_MOUTH_MM)
        each = draw.normal(deviation / 3, *five.shape)
        inputs["five"] = eyes + (five - eyes) * scale + (shift + each) * unit
    return inputs


_EYES_TO_MOUTH_MM = 70.0
