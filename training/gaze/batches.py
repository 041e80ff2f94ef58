"""Batches of samples for the training loop, in an order that a seed and an epoch fix, read ahead of the network."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dashgaze.geometry import FACING
from dashgaze.training.gaze.model import INPUTS, Truth
from dashgaze.training.gaze.samples import SampleSet, SessionSamples

Batch = tuple[dict[str, Tensor], Truth, NDArray[np.int64]]
"""Inputs by name, truth, and (k, 2) where it is from: number of the session, row in it."""

_AHEAD = 2
_LABELS = ("ray_deg", "face_deg", "location_px", "road_deg", "view")


def count_batches(samples: SampleSet, size: int) -> int:
    """Batches of an epoch."""
    return math.ceil(len(samples) / size)


def batches(
    samples: SampleSet, size: int, seed: int, epoch: int, start: int = 0, names: Sequence[str] = INPUTS
) -> Iterator[Batch]:
    """The batches of an epoch from number `start` on, shuffled over all sessions.

    All are of `size` or one or some less, so that none has too few samples to be normalised. One thread reads two
    batches ahead; four are in memory at most, 8 MB at 64 samples of the usual size.
    """
    rows = np.random.default_rng((seed, epoch)).permutation(samples.rows())
    if not len(rows):
        return
    parts = np.array_split(rows, count_batches(samples, size))[start:]
    ahead: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(1) as reader:
        for part in parts:
            ahead.append(reader.submit(_load, samples, part, names))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def evaluation_batches(
    session: SessionSamples, size: int, names: Sequence[str] = INPUTS
) -> Iterator[dict[str, Tensor]]:
    """Inputs of all rows of a session, usable or not, in order; the last batch may be smaller."""
    for first in range(0, len(session), size):
        yield {name: torch.from_numpy(np.array(session.arrays[name][first : first + size])) for name in names}


def take_truth(samples: SampleSet, rows: NDArray[np.int64]) -> Truth:
    """Labels of rows (k, 2)."""
    taken = samples.take(rows, _LABELS)
    sizes_px = np.array(
        [session.road_camera.size_px if session.road_camera else (np.nan, np.nan) for session in samples.sessions]
    )
    return Truth(
        ray_deg=_float(taken["ray_deg"]),
        face_deg=_float(taken["face_deg"]),
        location=_float((taken["location_px"] + 0.5) / sizes_px[rows[:, 0]]),
        road_deg=_float(taken["road_deg"]),
        road_from_view=_float(FACING @ taken["view"]),
        session=torch.from_numpy(rows[:, 0].copy()),
    )


def _load(samples: SampleSet, rows: NDArray[np.int64], names: Sequence[str]) -> Batch:
    inputs = {name: torch.from_numpy(values) for name, values in samples.take(rows, names).items()}
    return inputs, take_truth(samples, rows), rows


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
