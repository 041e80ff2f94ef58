"""How large a network is, and what one sample costs."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dashgaze.device.crops import POSE_NAMES
from dashgaze.training.gaze.config import ModelConfig
from dashgaze.training.gaze.model import FIVE_POINTS, MESH_POINTS, PICTURES, DashGazeNet, used_inputs


def describe(config: ModelConfig) -> dict[str, Any]:
    """Parameters, of each branch too, and multiplications and additions (FLOPs) of one sample forward."""
    network = DashGazeNet(config).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(example_inputs(config, 1))
    return {
        "parameters": _parameters(network),
        "parameters_by_part": {
            **{name: _parameters(branch) for name, branch in network.branches.items()},
            "heads": _parameters(network.heads) + _parameters(network.weights),
        },
        "flops": counter.get_total_flops(),
        "inputs": list(used_inputs(config)),
    }


def example_inputs(config: ModelConfig, count: int, seed: int = 0) -> dict[str, Tensor]:
    """Random inputs of the shapes and types that a network takes, for `count` samples."""
    plan, generator = config.crops, torch.Generator().manual_seed(seed)
    sizes = {"driver": plan.driver_px, "face": plan.face_px, "right_eye": plan.eye_px, "left_eye": plan.eye_px}
    numbers = {"five": (FIVE_POINTS, 2), "mesh": (MESH_POINTS, 2), "pose": (len(POSE_NAMES),)}
    inputs = {}
    for name in used_inputs(config):
        if name in PICTURES:
            width, height = sizes[name]
            shape = (count, plan.channels, height, width)
            inputs[name] = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        else:
            inputs[name] = 0.3 * torch.randn((count, *numbers[name]), generator=generator)
    return inputs


def _parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
