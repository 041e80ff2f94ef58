"""Measures of gaze estimates: errors (12.9) and (12.10), their intervals over sessions, zones, doubt, jitter.

Errors come one for each sample, NaN where there is no estimate or no truth; statistics leave NaN out, and are None
where nothing is left. Frames of one session are alike, so that intervals come from a bootstrap over sessions, not over
frames: whole sessions are drawn with replacement (cluster bootstrap; Davison and Hinkley 1997, section 3.8).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashgaze.geometry import Floats, angle_between_deg, rays_from_angles
from dashgaze.session import Record

DRAWS = 1000
"""Resamples of the bootstrap."""
CONFIDENCE = 0.95
PERCENTILES = tuple(range(101))
NORMAL_WITHIN = (0.393, 0.865)
"""Share of a round normal density over the plane within one and two standard deviations (of one axis)."""
LAPLACE_WITHIN = (0.517, 0.860)
"""The same of the density exp(-r / b) / (2 pi b^2), which is what the network learns."""

Interval = tuple[float, float]
_UNCERTAINTY_BINS = 10
_SPARSER = np.linspace(0, 0.95, 20)
"""Shares of the samples that a sparsification takes away."""


class Statistics(Record):
    """Errors of some rows."""

    rows: int
    """With an error; rows without an estimate are not among them."""
    sessions: int
    mean: float | None
    median: float | None
    p90: float | None
    rmse: float | None
    interval: Interval | None
    """Of the mean, 95 %; None for fewer than two sessions."""


class Ratio(Record):
    """Mean error over that of a reference, on the rows that both have."""

    rows: int
    value: float | None
    interval: Interval | None
    """95 %, paired by session."""


class AxisStatistics(Record):
    """Signed errors of one angle."""

    rows: int
    mean_absolute: float | None
    bias: float | None
    rmse: float | None
    slope: float | None
    """Of the regression of the estimate on the truth: below 1 where large angles come out too small."""


class DoubtBin(Record):
    """Samples of about the same predicted standard deviation."""

    rows: int
    predicted_sd: float
    """Root mean square of the predicted standard deviations per axis."""
    measured_sd: float
    """Root mean square error over the square root of two, the axes of the plane."""
    mean_error: float


class DoubtStatistics(Record):
    """How well predicted standard deviations tell the errors."""

    rows: int
    within_one_sd: float
    """Share of errors within one standard deviation; compare `NORMAL_WITHIN` and `LAPLACE_WITHIN`."""
    within_two_sd: float
    sparsification_error: float
    """Area between the sparsification curve and the one of an oracle (AUSE; Ilg et al. 2018), over the mean error."""
    blind_sparsification_error: float
    """That area for a predicted standard deviation that says nothing; better is below it."""
    bins: tuple[DoubtBin, ...]


def angular_error_deg(found: ArrayLike, truth: ArrayLike) -> Floats:
    """(12.9) for each sample: angle (n,) between rays (n, 3)."""
    return angle_between_deg(found, truth)


def angular_error_of_angles_deg(found_deg: Floats, truth_deg: Floats) -> Floats:
    """(12.9) for each sample: angle (n,) between directions given as azimuth and elevation (n, 2)."""
    return angle_between_deg(rays_from_angles(*found_deg.T), rays_from_angles(*truth_deg.T))


def location_error_px(found_px: ArrayLike, truth_px: ArrayLike) -> Floats:
    """(12.10) for each sample: distance (n,) between places (n, 2)."""
    return np.asarray(np.linalg.norm(np.asarray(found_px, float) - np.asarray(truth_px, float), axis=-1))


def axis_errors_deg(found_deg: ArrayLike, truth_deg: ArrayLike) -> Floats:
    """Signed errors, found minus true, of azimuth and elevation (n, 2), the azimuth within [-180, 180)."""
    errors = np.asarray(found_deg, float) - np.asarray(truth_deg, float)
    errors[..., 0] = (errors[..., 0] + 180) % 360 - 180
    return np.asarray(errors)


def root_mean_square(errors: ArrayLike) -> float | None:
    """Root mean square of the known errors."""
    known = _known(errors)
    return float(np.sqrt(np.mean(known * known))) if len(known) else None


def summarise(errors: Floats, sessions: NDArray[np.int_]) -> Statistics:
    """Statistics of errors (n,) of rows of numbered sessions (n,)."""
    there = np.isfinite(errors)
    known, of_session = errors[there], sessions[there]
    if not len(known):
        return Statistics(rows=0, sessions=0, mean=None, median=None, p90=None, rmse=None, interval=None)
    return Statistics(
        rows=len(known),
        sessions=len(np.unique(of_session)),
        mean=float(known.mean()),
        median=float(np.median(known)),
        p90=float(np.quantile(known, 0.9)),
        rmse=root_mean_square(known),
        interval=mean_interval(known, of_session),
    )


def percentiles(errors: Floats) -> tuple[float, ...]:
    """`PERCENTILES` of the known errors, the cumulative error curve; none where nothing is known."""
    known = _known(errors)
    return tuple(np.percentile(known, PERCENTILES).tolist()) if len(known) else ()


def mean_interval(errors: Floats, sessions: NDArray[np.int_]) -> Interval | None:
    """95 % interval of the mean error, sessions drawn with replacement; None for fewer than two sessions."""
    there = np.isfinite(errors)
    return _bootstrap(errors[there], np.ones(int(there.sum())), sessions[there])


def ratio(errors: Floats, reference: Floats, sessions: NDArray[np.int_]) -> Ratio:
    """Mean error over the mean error of a reference on the rows that both have, the same sessions drawn for both."""
    both = np.isfinite(errors) & np.isfinite(reference)
    below = float(reference[both].mean()) if both.any() else 0.0
    return Ratio(
        rows=int(both.sum()),
        value=float(errors[both].mean() / below) if below > 0 else None,
        interval=_bootstrap(errors[both], reference[both], sessions[both]) if below > 0 else None,
    )


def axis_statistics(truth_deg: Floats, errors_deg: Floats) -> AxisStatistics:
    """Statistics of one angle by its truth (n,) and one column of its `axis_errors_deg` (n,)."""
    there = np.isfinite(errors_deg)
    known = errors_deg[there]
    if not len(known):
        return AxisStatistics(rows=0, mean_absolute=None, bias=None, rmse=None, slope=None)
    truth = truth_deg[there] - truth_deg[there].mean()
    spread = float((truth * truth).sum())
    return AxisStatistics(
        rows=len(known),
        mean_absolute=float(np.abs(known).mean()),
        bias=float(known.mean()),
        rmse=root_mean_square(known),
        slope=1 + float((truth * known).sum()) / spread if spread > 1e-9 else None,
    )


def confusion_matrix(truth: Sequence[Any], found: Sequence[Any], names: Sequence[str]) -> NDArray[np.int_]:
    """Counts (k, k): rows are the true names, columns the found ones. KeyError for a name that is not in `names`."""
    number = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, ([number[str(name)] for name in truth], [number[str(name)] for name in found]), 1)
    return counts


def balanced_accuracy(confusion: NDArray[np.int_]) -> float | None:
    """Mean over the true classes that occur of the share that was found right."""
    total = confusion.sum(axis=1)
    occurs = total > 0
    return float(np.mean(np.diag(confusion)[occurs] / total[occurs])) if occurs.any() else None


def accuracy(confusion: NDArray[np.int_]) -> float | None:
    """Share that was found right."""
    return float(np.trace(confusion) / confusion.sum()) if confusion.any() else None


def doubt_statistics(errors_deg: Floats, sd_deg: Floats) -> DoubtStatistics | None:
    """How well predicted standard deviations per axis (n,) tell the errors (n,); None where nothing is known."""
    there = np.isfinite(errors_deg) & np.isfinite(sd_deg) & (sd_deg > 0)
    errors, sd = errors_deg[there], sd_deg[there]
    if not len(errors) or not errors.any():
        return None
    order = np.lexsort((errors, sd))
    groups = [group for group in np.array_split(order, _UNCERTAINTY_BINS) if len(group)]
    by_doubt, by_oracle = _sparsified(errors, sd), _sparsified(errors, errors)
    mean = float(errors.mean())
    return DoubtStatistics(
        rows=len(errors),
        within_one_sd=float(np.mean(errors <= sd)),
        within_two_sd=float(np.mean(errors <= 2 * sd)),
        sparsification_error=float(np.mean(by_doubt - by_oracle)) / mean,
        blind_sparsification_error=float(np.mean(mean - by_oracle)) / mean,
        bins=tuple(
            DoubtBin(
                rows=len(group),
                predicted_sd=float(np.sqrt(np.mean(sd[group] ** 2))),
                measured_sd=float(np.sqrt(np.mean(errors[group] ** 2) / 2)),
                mean_error=float(errors[group].mean()),
            )
            for group in groups
        ),
    )


def jitter_deg(rays: Floats, t_s: Floats, longest_s: float = 0.25) -> float | None:
    """Median angle between rays (n, 3) that follow each other within `longest_s`; None where no two do."""
    gap_s = np.diff(t_s)
    turned = angle_between_deg(rays[1:], rays[:-1])[(gap_s > 0) & (gap_s <= longest_s)]
    known = _known(turned)
    return float(np.median(known)) if len(known) else None


def _known(values: ArrayLike) -> Floats:
    array = np.asarray(values, float)
    return np.asarray(array[np.isfinite(array)])


def _bootstrap(above: Floats, below: Floats, sessions: NDArray[np.int_]) -> Interval | None:
    """Percentile interval of sum(above) / sum(below), sessions drawn with replacement, always the same draws."""
    numbers, of_session = np.unique(sessions, return_inverse=True)
    count = len(numbers)
    if count < 2:
        return None
    sums = np.stack([np.bincount(of_session, values, minlength=count) for values in (above, below)])
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    upper, lower = sums @ drawn.T
    low, high = np.quantile(upper[lower > 0] / lower[lower > 0], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _sparsified(errors: Floats, by: Floats) -> Floats:
    """Mean error of what is left once the shares `_SPARSER` with the largest `by` are taken away; ties count alike."""
    _, tied = np.unique(by, return_inverse=True)
    alike = (np.bincount(tied, errors) / np.bincount(tied))[tied]
    ordered = alike[np.argsort(by)]
    left = np.maximum(np.ceil(len(ordered) * (1 - _SPARSER)).astype(int), 1)
    return np.asarray(np.cumsum(ordered)[left - 1] / left)
