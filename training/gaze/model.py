"""DashGazeNet (thesis, section 12.2): five branches, their fusion, the heads and their losses.

    driver view, face, two eyes, landmarks -> `features` numbers each
    location   from their concatenation (12.1), or from the learned weighted sum
    face angles (azimuth, elevation in the face frame) from the learned weighted sum (12.3)
    ray        (not in the thesis) azimuth and elevation in the normalised view, zero into the camera; `device.crops`
    session    self-supervised heads on the features of eyes and landmarks (12.5 to 12.7)

Pictures come as uint8 (N, channels, height, width) and are standardised here, one by one, so that whoever runs the
network has nothing to prepare. Angles go in and out in degrees.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dashgaze.device.crops import POSE_NAMES
from dashgaze.training.gaze.config import BRANCHES, Fusion, LossConfig, ModelConfig

PICTURES = ("driver", "face", "right_eye", "left_eye")
INPUTS = (*PICTURES, "five", "mesh", "pose")
"""Names of the inputs; `ModelConfig` decides which of them a network takes (`used_inputs`)."""
MESH_POINTS, FIVE_POINTS = 478, 5
UNIT_DEG = 10.0
"""Heads and losses count angles in it."""
SD_OF_LAPLACE = math.sqrt(3)
"""Standard deviation per axis of the density exp(-r / b) / (2 pi b^2) is so many b."""
_SMALLEST_VARIANCE = 1.0  # grey levels: below it a picture is noise


class Outputs(NamedTuple):
    """What the network says of N samples; None for a head it does not have."""

    ray_deg: Tensor | None
    """(N, 2) azimuth and elevation in the view."""
    ray_error_deg: Tensor | None
    """(N,) one standard deviation per axis."""
    face_deg: Tensor | None
    """(N, 2) azimuth and elevation in the face frame."""
    location: Tensor | None
    """(N, 2) direct: place on the road view, shares of its width and height; residual: degrees to the right and up."""
    mixture: Tensor | None
    """(N, K, 5) of a mixture: log weight, two means, two log standard deviations, in shares of the road view."""
    features: dict[str, Tensor]
    """(N, features) by branch."""


class Truth(NamedTuple):
    """Labels of N samples; NaN where unknown."""

    ray_deg: Tensor
    """(N, 2) in the view."""
    face_deg: Tensor
    """(N, 2)"""
    location: Tensor
    """(N, 2) shares of the road view; NaN where the gaze is not on it."""
    road_deg: Tensor
    """(N, 2) direction to the right and up in the road camera of what is looked at; NaN where not on the road view."""
    road_from_view: Tensor
    """(N, 3, 3) rotation of the rigid pair, from the normalised view to the road camera."""
    session: Tensor
    """(N,) int64 number of the training session."""


def used_inputs(config: ModelConfig) -> tuple[str, ...]:
    """Names of the inputs that a network takes, in their order."""
    names: list[str] = [name for name in PICTURES if name in config.branches]
    if "landmarks" in config.branches:
        names += [config.landmarks, *(["pose"] if config.head_pose else [])]
    return tuple(names)


class DashGazeNet(nn.Module):
    """The network. `forward` takes the inputs by name and gives `Outputs`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.branches = nn.ModuleDict({name: _branch(name, config) for name in _own_branches(config)})
        count = len(config.branches)
        self.weights = nn.ParameterDict(
            {head: nn.Parameter(torch.full((count,), 1 / count)) for head in _weighted(config)}
        )
        sizes = {"ray": 3 if config.uncertainty else 2, "face": 2, "location": 5 * config.mixture or 2}
        self.heads = nn.ModuleDict(
            {head: _head(config, fusion, sizes[head]) for head, fusion in _heads(config).items()}
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> Outputs:
        """Outputs of a batch; `inputs` has at least `used_inputs`."""
        features: dict[str, Tensor] = {
            name: self.branch_features(name, inputs) for name in BRANCHES if name in self.config.branches
        }
        stacked = torch.stack(tuple(features.values()), dim=1)
        said = {
            head: _call(self.heads[head], self._fuse(head, fusion, stacked))
            for head, fusion in _heads(self.config).items()
        }
        ray, face, location = said.get("ray"), said.get("face"), said.get("location")
        error = None
        if ray is not None and self.config.uncertainty:
            error = UNIT_DEG * SD_OF_LAPLACE * functional.softplus(ray[:, 2] - 0.5) + 0.1
        mixture = None
        if location is not None and self.config.mixture:
            mixture = location.reshape(-1, self.config.mixture, 5)
            location = (mixture[..., :1].softmax(dim=1) * mixture[..., 1:3]).sum(dim=1)
        if location is not None:
            location = UNIT_DEG * location if self.config.location == "residual" else location + 0.5
        return Outputs(
            ray_deg=None if ray is None else UNIT_DEG * ray[:, :2],
            ray_error_deg=error,
            face_deg=None if face is None else UNIT_DEG * face,
            location=location,
            mixture=mixture,
            features=features,
        )

    def branch_features(self, name: str, inputs: Mapping[str, Tensor]) -> Tensor:
        """(N, features) of one branch."""
        if name == "landmarks":
            parts = [inputs[self.config.landmarks].flatten(1)]
            if self.config.head_pose:
                parts.append(inputs["pose"])
            return _call(self.branches[name], torch.cat(parts, dim=1))
        picture = standardised(inputs[name])
        if self.config.shared_eyes and name.endswith("eye"):
            return _call(self.branches["eye"], picture.flip(-1) if name == "right_eye" else picture)
        return _call(self.branches[name], picture)

    def _fuse(self, head: str, fusion: Fusion, stacked: Tensor) -> Tensor:
        """(N, branches, features) to what a head takes: (12.1) or (12.3)."""
        if fusion == "concatenate":
            return stacked.flatten(1)
        weights: Tensor = self.weights[head]
        return (weights[:, None] * stacked).sum(dim=1)


class SessionHeads(nn.Module):
    """The self-supervised heads of section 12.2.4 and of rows 2 and 3 of table 12.1, one linear layer each.

    `identity`: one head that says which of S sessions a sample is of. `translation`: S heads without shared weights,
    each of which sees its own session's samples only, which is what the masks of (12.5) and (12.6) do.
    """

    def __init__(self, config: ModelConfig, sessions: int) -> None:
        super().__init__()
        self.config = config
        size = config.features * len(session_branches(config))
        self.linear = nn.Linear(size, sessions)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """(N, S): logits of the sessions, or each head's logit that the sample was translated."""
        return _call(self.linear, session_features(self.config, features))


def session_branches(config: ModelConfig) -> tuple[str, ...]:
    """Branches that session heads see (12.6)."""
    wanted = ("left_eye", "right_eye", "landmarks") if config.session_features == "eyes_landmarks" else BRANCHES
    return tuple(name for name in wanted if name in config.branches)


def session_features(config: ModelConfig, features: Mapping[str, Tensor]) -> Tensor:
    """I_sess of (12.6)."""
    return torch.cat([features[name] for name in session_branches(config)], dim=1)


def session_loss(config: ModelConfig, logits: Tensor, session: Tensor, translated: Tensor) -> Tensor:
    """(12.7) summed over the sessions of a batch, or the cross-entropy of identity; `translated` (N,) is 0 or 1."""
    if config.session_task == "identity":
        return functional.cross_entropy(logits, session)
    own = logits.gather(1, session[:, None])[:, 0]
    return functional.binary_cross_entropy_with_logits(own, translated.to(own.dtype))


def gaze_losses(config: ModelConfig, loss: LossConfig, outputs: Outputs, truth: Truth) -> dict[str, Tensor]:
    """The parts of L_G (12.4), each times its weight; samples whose label is NaN do not count."""
    parts = {}
    if outputs.ray_deg is not None:
        parts["ray"] = loss.ray * _ray_loss(loss, outputs, truth.ray_deg)
    if outputs.face_deg is not None:
        parts["angle"] = loss.angle * _distance(loss, outputs.face_deg / UNIT_DEG, truth.face_deg / UNIT_DEG)
    if outputs.mixture is not None:
        parts["location"] = loss.location * _mixture_loss(outputs.mixture, truth.location)
    elif outputs.location is not None and config.location == "direct":
        parts["location"] = loss.location * _distance(loss, outputs.location * UNIT_DEG, truth.location * UNIT_DEG)
    elif outputs.location is not None and outputs.ray_deg is not None:
        there = rigid_road_deg(outputs.ray_deg.detach(), truth.road_from_view) + outputs.location
        parts["location"] = loss.location * _distance(loss, there / UNIT_DEG, truth.road_deg / UNIT_DEG)
    return parts


def rigid_road_deg(ray_deg: Tensor, road_from_view: Tensor) -> Tensor:
    """Direction (N, 2) in the road camera, to the right and up, of rays (N, 2) in the view: a target far away."""
    facing = unit_rays(ray_deg) * torch.tensor([-1.0, 1.0, -1.0], dtype=ray_deg.dtype, device=ray_deg.device)
    x, y, z = (road_from_view @ facing[..., None])[..., 0].unbind(-1)
    return torch.rad2deg(torch.stack([torch.atan2(x, z), torch.atan2(-y, torch.hypot(x, z))], dim=-1))


def unit_rays(angles_deg: Tensor) -> Tensor:
    """(..., 3) unit vectors of azimuth and elevation (..., 2); `dashgaze.geometry.rays_from_angles`."""
    azimuth, elevation = torch.deg2rad(angles_deg).unbind(-1)
    flat = elevation.cos()
    return torch.stack([flat * azimuth.sin(), -elevation.sin(), flat * azimuth.cos()], dim=-1)


def angular_error_deg(first_deg: Tensor, second_deg: Tensor) -> Tensor:
    """(12.9) for each sample: the angle between two directions given as azimuth and elevation (N, 2).

    By the chord, which has a gradient at zero where the arc cosine has none.
    """
    chord = (unit_rays(first_deg) - unit_rays(second_deg)).square().sum(-1).clamp_min(1e-9).sqrt()
    return torch.rad2deg(2 * torch.asin((chord / 2).clamp_max(1 - 1e-6)))


def _ray_loss(loss: LossConfig, outputs: Outputs, truth_deg: Tensor) -> Tensor:
    assert outputs.ray_deg is not None
    known = truth_deg.isfinite().all(dim=1)
    error = angular_error_deg(outputs.ray_deg[known], truth_deg[known]) / UNIT_DEG
    if loss.kind == "squared":
        return _mean(error.square())
    if outputs.ray_error_deg is None:
        return _mean(error)
    # The negative log-likelihood of a density exp(-r / b) / (2 pi b^2) over the plane.
    b = outputs.ray_error_deg[known] / (UNIT_DEG * SD_OF_LAPLACE)
    return _mean(error / b + 2 * b.log())


def _distance(loss: LossConfig, found: Tensor, truth: Tensor) -> Tensor:
    """Mean squared distance (12.2), or mean distance, over the samples whose truth is known."""
    known = truth.isfinite().all(dim=1)
    squared = (found[known] - truth[known]).square().sum(dim=1)
    return _mean(squared if loss.kind == "squared" else (squared + 1e-6).sqrt())


def _mixture_loss(mixture: Tensor, truth: Tensor) -> Tensor:
    """Negative log-likelihood of a mixture of axis-parallel normal densities (Bishop 1994)."""
    known = truth.isfinite().all(dim=1)
    mixture, truth = mixture[known], truth[known, None] - 0.5
    log_sd = mixture[..., 3:].clamp(-4, 2)
    log_density = -0.5 * ((truth - mixture[..., 1:3]) / log_sd.exp()).square() - log_sd
    return _mean(-(mixture[..., 0].log_softmax(dim=1) + log_density.sum(-1)).logsumexp(dim=1))


def _mean(values: Tensor) -> Tensor:
    """Mean that is 0, with a gradient, over no values."""
    return values.sum() / max(len(values), 1)


def standardised(picture: Tensor) -> Tensor:
    """Pictures (N, C, H, W) with mean 0 and variance 1 each: neither brightness nor contrast tells where one looks."""
    grey = picture.to(torch.float32)
    mean = grey.mean(dim=(1, 2, 3), keepdim=True)
    centred = grey - mean
    variance = centred.square().mean(dim=(1, 2, 3), keepdim=True)
    return centred * torch.rsqrt(variance + _SMALLEST_VARIANCE)


# --- branches ---


def _call(module: nn.Module, values: Tensor) -> Tensor:
    """What a module makes of a tensor; torch does not tell its type."""
    result: Tensor = module(values)
    return result


def _own_branches(config: ModelConfig) -> list[str]:
    """Networks behind the branches: both eyes may be one."""
    names = ["eye" if config.shared_eyes and name.endswith("eye") else name for name in config.branches]
    return list(dict.fromkeys(names))


def _heads(config: ModelConfig) -> dict[str, Fusion]:
    heads: dict[str, Fusion] = {}
    if config.ray:
        heads["ray"] = config.ray_fusion
    if config.face_angles:
        heads["face"] = config.angle_fusion
    if config.location != "none":
        heads["location"] = config.location_fusion
    return heads


def _weighted(config: ModelConfig) -> list[str]:
    return [head for head, fusion in _heads(config).items() if fusion == "weighted"]


def _head(config: ModelConfig, fusion: Fusion, size: int) -> nn.Module:
    features = config.features * (len(config.branches) if fusion == "concatenate" else 1)
    hidden = 64
    return nn.Sequential(nn.Dropout(config.dropout), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, size))


def _branch(name: str, config: ModelConfig) -> nn.Module:
    if name == "landmarks":
        size = 2 * (MESH_POINTS if config.landmarks == "mesh" else FIVE_POINTS)
        size += len(POSE_NAMES) if config.head_pose else 0
        hidden = 128 if config.landmarks == "mesh" else config.features
        return nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, config.features), nn.ReLU())
    if name.endswith("eye"):
        return small_backbone(config, (24, 48, 72, 40), (config.channels, 50, 100))
    (width, height) = config.driver_px if name == "driver" else config.face_px
    if config.backbone == "resnet50":
        return resnet50(config.channels, config.features)
    channels = (16, 32, 48, 64, 96) if name == "driver" else (24, 48, 72, 96, 96)
    return small_backbone(config, channels, (config.channels, height, width))


def small_backbone(config: ModelConfig, channels: tuple[int, ...], shape: tuple[int, int, int]) -> nn.Module:
    """Convolutions of stride 2, each with normalisation and ReLU, then a linear layer to the features."""
    layers: list[nn.Module] = []
    before, height, width = shape
    for number, count in enumerate(channels):
        after = max(8, round(count * config.width))
        layers += [nn.Conv2d(before, after, 5 if number == 0 else 3, 2, 2 if number == 0 else 1, bias=False)]
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
        before, height, width = after, (height + 1) // 2, (width + 1) // 2
    layers += [nn.Flatten(), nn.Linear(before * height * width, config.features), nn.ReLU()]
    return nn.Sequential(*layers)


class Bottleneck(nn.Module):
    """A residual block of ResNet-50 (He et al. 2016; stride in the 3 x 3 convolution, as is usual since)."""

    def __init__(self, before: int, inner: int, stride: int) -> None:
        super().__init__()
        after = 4 * inner
        self.body = nn.Sequential(
            *_convolution(before, inner, 1, 1), nn.ReLU(),
            *_convolution(inner, inner, 3, stride), nn.ReLU(),
            *_convolution(inner, after, 1, 1),
        )  # fmt: skip
        same = stride == 1 and before == after
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(before, after, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) to (N, 4 inner, H / stride, W / stride)."""
        return functional.relu(self.body(x) + self.shortcut(x))


def resnet50(channels: int, features: int) -> nn.Module:
    """ResNet-50 with a linear layer to the features."""
    layers: list[nn.Module] = [*_convolution(channels, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for inner, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(blocks):
            layers.append(Bottleneck(before, inner, stride if number == 0 else 1))
            before = 4 * inner
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, features), nn.ReLU())


def _convolution(before: int, after: int, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(after)
