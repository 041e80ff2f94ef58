"""Test-time adaptation by the translation task (thesis, section 12.2.4): the reference that a device has to equal.

Each session starts from the trained weights and a fresh session head, one linear layer of `session_features` to a
logit. Batches come in the order of time. Each is first predicted, with the weights as the batches before it left them
(12.1), and then used for one step of plain gradient descent on the cross-entropy (12.7) of "were the landmarks moved?":
no label is needed. The weights that move are the session head's and those below it that the loss reaches.

Two things differ from the chapter, tried on rendered sessions of 30 frames, four steps each:
- It alternates batches of normal and of translated landmarks. Here each batch is taken both ways in one step, as in
  training. To first order two of its steps are one of these; but a batch of one class pulls all features one way before
  the next pulls them back, and what is predicted in between is off: the mean errors of sessions scattered five times as
  much (learning rate 0.001), and at 0.1 alternating steps diverged where steps with both were stable. Adam, whose first
  steps are as large as the learning rate whatever the gradient, made errors larger either way.
- A fresh head starts at zero, not at random: a head that knows nothing yet must not pull at the features. One drawn at
  random pulls them to wherever it says 0, and that was all it did: with translations of a millionth of the picture,
  where there is nothing to learn, errors changed alike to three digits (learning rate 0.1, location -4.0 +- 1.5 of 291
  px; at 0.3, +10 +- 8). From zero, nothing changed up to 0.3 and nothing got better at 1.

Normalisation stays in evaluation mode: a batch is a few successive frames of one person, whose statistics say little
about the pictures to come, and a prediction must not depend on which frames it shares a batch with. Dropout is off for
the same reason, so that a learning rate of 0 is no adaptation.
"""

import copy
import zlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dashgaze.errors import InputError
from dashgaze.geometry import Floats
from dashgaze.training.gaze.config import AdaptationConfig
from dashgaze.training.gaze.evaluate import NetworkPredictor
from dashgaze.training.gaze.model import DashGazeNet, Outputs, session_branches, session_features, used_inputs
from dashgaze.training.gaze.samples import SessionSamples

PICTURE_WIDTH_TAN = 1.25
"""Width of the driver camera's picture at a distance of 1: a field of view of 64 degrees, the middle of the rendered
dashcams' and phones' 52 to 83. It makes a shift of `five` and one of `mesh` the same angle, about."""
_UNITS_PER_M = 10.0  # `mesh` counts in 100 mm
_USUAL_DISTANCE_M = 0.7  # of the eyes from the camera, for networks without a head pose
_DISTANCE = 8  # its place in `pose`
_DIVERGED = 2.0  # a loss of so much; guessing makes log 2


def translate(inputs: Mapping[str, Tensor], shift_frac: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Inputs of N samples with the landmarks of each moved, all points of a sample alike; the rest is shared.

    To the side and downwards, each uniformly within +-`shift_frac` of the picture's width (the thesis: 20 pixels).
    `pose` stays: it is the landmarks that are wrong, not the head that moved.
    """
    moved = dict(inputs)
    like = next(iter(inputs.values()))
    draws = torch.rand((len(like), 1, 2), generator=generator).to(like.device)
    shift = (2 * draws - 1) * shift_frac
    if "five" in inputs:
        moved["five"] = inputs["five"] + shift
    if "mesh" in inputs:
        distance_m = inputs["pose"][:, _DISTANCE, None, None] if "pose" in inputs else _USUAL_DISTANCE_M
        moved["mesh"] = inputs["mesh"] + shift * PICTURE_WIDTH_TAN * _UNITS_PER_M * distance_m
    return moved


class Step(NamedTuple):
    """What adaptation did with one batch of a session."""

    rows: NDArray[np.intp]
    """Rows of the session, in the order of time."""
    outputs: Outputs
    """Predicted before the update."""
    loss: float | None
    """(12.7) of the update; None where there was none, because adaptation diverged here or before."""


def adapt(
    model: DashGazeNet, config: AdaptationConfig, samples: SessionSamples, generator: torch.Generator
) -> Iterator[Step]:
    """Predict a session batch by batch and learn from each batch; `model` itself stays as it is.

    Where the loss or a weight diverges, all updates are undone and there is no other in this session. Raises InputError
    where the network does not see landmarks, which the task is about.
    """
    if "landmarks" not in model.config.branches:
        raise InputError("model.branches", "has no landmarks, which adaptation moves", "evaluate without adaptation")
    learner = copy.deepcopy(model).eval().requires_grad_()
    size = model.config.features * len(session_branches(model.config))
    head = torch.zeros(1, size, requires_grad=True), torch.zeros(1, requires_grad=True)
    adapting = True
    order = np.argsort(samples.arrays["t_s"], kind="stable")
    for start in range(0, len(order), config.batch):
        rows = order[start : start + config.batch]
        inputs = {name: torch.from_numpy(np.array(samples.arrays[name][rows])) for name in used_inputs(model.config)}
        with torch.no_grad():
            outputs = learner(inputs)
        loss = None
        if adapting:
            loss = _update(learner, head, config, inputs, generator)
            if loss is None:
                learner.load_state_dict(model.state_dict())
                adapting = False
        yield Step(rows, outputs, loss)


class AdaptedPredictor(NetworkPredictor):
    """A network that adapts to each session as it goes; a session's estimates depend on no other session."""

    def __init__(
        self, name: str, model: DashGazeNet, config: AdaptationConfig, seed: int = 0, error_factor: float = 1.0
    ) -> None:
        super().__init__(name, model, error_factor)
        self._config, self._seed = config, seed

    def _run(self, samples: SessionSamples) -> dict[str, Floats]:
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self._seed} {samples.session_id}".encode()))
        steps = list(adapt(self._model, self._config, samples, generator))
        said: dict[str, Floats] = {}
        for name in ("ray_deg", "ray_error_deg", "face_deg", "location"):
            parts = [(step.rows, getattr(step.outputs, name)) for step in steps]
            if parts and parts[0][1] is not None:
                said[name] = np.empty((len(samples), *parts[0][1].shape[1:]))
                for rows, values in parts:
                    said[name][rows] = values.double().numpy()
        return said


def _update(
    learner: DashGazeNet,
    head: tuple[Tensor, Tensor],
    config: AdaptationConfig,
    inputs: Mapping[str, Tensor],
    generator: torch.Generator,
) -> float | None:
    """One step of gradient descent on (12.7), in place; the loss before it, None where it diverges."""
    still = {name: learner.branch_features(name, inputs) for name in session_branches(learner.config)}
    moved = still | {"landmarks": learner.branch_features("landmarks", translate(inputs, config.shift_frac, generator))}
    seen = torch.cat([session_features(learner.config, features) for features in (still, moved)])
    logits = functional.linear(seen, *head)[:, 0]
    translated = torch.arange(2).repeat_interleave(len(logits) // 2).to(logits)
    loss = functional.binary_cross_entropy_with_logits(logits, translated)
    weights = [*head, *learner.parameters()]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    sane = float(loss.detach()) < _DIVERGED  # NaN is not
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:  # the loss does not reach the heads, nor the branches that the task does not see
                weight -= config.learning_rate * gradient
                sane &= bool(weight.isfinite().all())
    return float(loss.detach()) if sane else None
