"""Pictures of an evaluation, as PNG: errors by subset, doubt and turn of the head, angles, zones, places, faces.

The first predictor is the one that is judged; where a picture has room for one only, it shows that one.
"""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dashgaze.device.crops import FACE_DOWN_MM, FACE_MM
from dashgaze.geometry import Floats
from dashgaze.training.gaze.evaluate import UNITS, ZONES, Evaluation, Quantity, Summary
from dashgaze.training.gaze.metrics import PERCENTILES, Statistics
from dashgaze.training.gaze.samples import SessionSamples

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito 2008
_MARKERS = "osD^vPXdph*"
TRUE_COLOUR, FOUND_COLOUR = "#00c389", "#ff5a1f"
_GREY = "#8a8a8a"
_AXIS_NAMES: dict[Quantity, str] = {
    "ray": "error of the ray, degrees",
    "face": "error of the angles in the face frame, degrees",
    "location": "error on the road view, pixels of 1920",
}
_DPI = 120
_FEWEST = 10  # rows behind a point
_SHOWN_PLACES = 120
_ARROW = 0.42  # of the face crop's side, for a gaze across the line of sight


def draw_all(evaluation: Evaluation) -> dict[str, bytes]:
    """All pictures that the evaluation has something for, by file name."""
    drawings: dict[str, Callable[[Evaluation], Figure | None]] = {
        "subsets.png": draw_subsets,
        "cumulative.png": draw_cumulative,
        "head-turn.png": draw_head_turn,
        "angles.png": draw_angles,
        "uncertainty.png": draw_uncertainty,
        "zones.png": draw_zones,
        "locations.png": draw_locations,
    }
    figures = {name: draw(evaluation) for name, draw in drawings.items()}
    return {name: _png(figure) for name, figure in figures.items() if figure is not None}


def main_quantity(summary: Summary) -> Quantity | None:
    """The first of ray, face angles and location that the judged predictor gives."""
    given = summary.predictors[0].quantities if summary.predictors else {}
    return next((quantity for quantity in UNITS if quantity in given), None)


def draw_subsets(evaluation: Evaluation) -> Figure | None:
    """Mean errors with their intervals, subset by subset, of all predictors."""
    summary = evaluation.summary
    quantity = main_quantity(summary)
    if quantity is None:
        return None
    first = summary.predictors[0].quantities[quantity]
    lines: list[tuple[str, str] | None] = [("", "all")]
    for group, names in first.subsets.items():
        if group != "driver" and len(names) > 1:
            lines += [None, *((group, name) for name in names)]
    figure = Figure(figsize=(8.5, 1.1 + max(0.27, 0.075 * len(summary.predictors)) * len(lines)), layout="constrained")
    axes = figure.subplots()
    shift = 0.7 / len(summary.predictors)
    for number, result in enumerate(summary.predictors):
        of_one = result.quantities.get(quantity)
        if of_one is None:
            continue
        every: dict[tuple[str, str], Statistics] = {("", "all"): of_one.total}
        every |= {(group, name): value for group, names in of_one.subsets.items() for name, value in names.items()}
        for height, line in enumerate(lines):
            statistics = every.get(line) if line else None
            if statistics is not None:
                _dot(axes, statistics, -height - shift * (number - (len(summary.predictors) - 1) / 2), number)
        axes.plot([], [], _marker(number), color=_colour(number), label=result.name)
    labels = [(f"{line[0]}: {line[1]}" if line[0] else line[1]) if line else "" for line in lines]
    axes.set_yticks([-height for height in range(len(lines))], labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-len(lines) + 0.4, 0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"mean {_AXIS_NAMES[quantity]}")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=min(len(summary.predictors), 4), frameon=False)
    return figure


def _dot(axes: Axes, statistics: Statistics, y: float, number: int) -> None:
    if statistics.mean is None:
        return
    colour = _colour(number)
    if statistics.interval is not None:
        axes.plot(statistics.interval, (y, y), color=colour, linewidth=1.2, alpha=0.8)
    face = "white" if getattr(statistics, "few", False) else colour
    axes.plot(statistics.mean, y, _marker(number), color=colour, markerfacecolor=face, markersize=4.5)


def draw_cumulative(evaluation: Evaluation) -> Figure | None:
    """Share of the estimates whose error is at most so large, for each quantity."""
    summary = evaluation.summary
    shown = [q for q in UNITS if any(result.quantities.get(q) for result in summary.predictors)]
    if not shown:
        return None
    figure = Figure(figsize=(3.6 * len(shown), 3.6), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        furthest = 0.0
        for number, result in enumerate(summary.predictors):
            of_one = result.quantities.get(quantity)
            if of_one is None or not of_one.percentiles:
                continue
            axes.plot(of_one.percentiles, PERCENTILES, label=result.name, **_style(number) | {"marker": ""})
            furthest = max(furthest, of_one.percentiles[95])
        axes.set(xlim=(0, furthest or 1), ylim=(0, 100), xlabel=_AXIS_NAMES[quantity])
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("share of estimates, %")
    handles, labels = max((axes.get_legend_handles_labels() for axes in figure.axes), key=lambda pair: len(pair[1]))
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4), frameon=False)
    return figure


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _marker(number: int) -> str:
    return _MARKERS[number % len(_MARKERS)]


def _style(number: int) -> dict[str, Any]:
    """How the line of a predictor looks."""
    dashes = "-" if number < len(_COLOURS) else "--"
    return {"marker": _marker(number), "markersize": 4.5, "color": _colour(number), "linestyle": dashes}


def draw_head_turn(evaluation: Evaluation) -> Figure | None:
    """Mean error over the head's turn from the camera, in steps of 10 degrees."""
    rows, quantity = evaluation.rows, main_quantity(evaluation.summary)
    if quantity is None or not np.isfinite(rows.head_turn_deg).any():
        return None
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    steps = np.round(rows.head_turn_deg / 10)
    for number, (name, measured) in enumerate(evaluation.measured.items()):
        errors = measured.errors[quantity]
        known = np.isfinite(errors) & np.isfinite(steps)
        places, of_row, counts = np.unique(steps[known], return_inverse=True, return_counts=True)
        means = np.bincount(of_row, errors[known], minlength=len(places)) / np.maximum(counts, 1)
        enough = counts >= _FEWEST
        if enough.any():
            axes.plot(10 * places[enough], means[enough], label=name, **_style(number))
    if not axes.lines:
        return None
    axes.set_ylim(bottom=0)
    axes.set_xlabel("true yaw of the head against the line to the camera, degrees, positive to the driver's right")
    axes.set_ylabel(f"mean {_AXIS_NAMES[quantity]}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def draw_angles(evaluation: Evaluation) -> Figure | None:
    """Found over true azimuth and elevation of the judged predictor, in the face frame and against the camera."""
    rows, (name, measured) = evaluation.rows, next(iter(evaluation.measured.items()))
    pairs = [
        (title, truth[:, column], found[:, column])
        for frame, truth, found in (
            ("in the face frame", rows.face_deg, measured.face_deg),
            ("against the camera", rows.camera_deg, measured.camera_deg),
        )
        for column, title in ((0, f"azimuth {frame}"), (1, f"elevation {frame}"))
        if np.isfinite(truth[:, column] + found[:, column]).any()
    ]
    if not pairs:
        return None
    figure = Figure(figsize=(7, 3.6 * len(pairs) / 2), layout="constrained")
    figure.suptitle(name, fontsize="medium")
    for axes, (title, truth, found) in zip(figure.subplots(len(pairs) // 2, 2).flat, pairs, strict=True):
        known = np.isfinite(truth + found)
        low, high = np.quantile(np.concatenate([truth[known], found[known]]), [0.002, 0.998]) + np.array([-3, 3])
        axes.plot((low, high), (low, high), color=_GREY, linewidth=1)
        axes.scatter(truth[known], found[known], s=6, alpha=0.35, color=_COLOURS[0], linewidths=0)
        axes.set(xlim=(low, high), ylim=(low, high), xlabel="true, degrees", ylabel="found, degrees")
        axes.set_title(title, fontsize="medium")
        axes.set_box_aspect(1)
        axes.grid(alpha=0.3)
    return figure


def draw_uncertainty(evaluation: Evaluation) -> Figure | None:
    """Measured over predicted standard deviation, in tenths of the estimates by rising doubt."""
    results = [(n, result) for n, result in enumerate(evaluation.summary.predictors) if result.doubt is not None]
    if not results:
        return None
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.subplots()
    furthest = 0.0
    for number, result in results:
        assert result.doubt is not None
        predicted = [step.predicted_sd for step in result.doubt.bins]
        measured = [step.measured_sd for step in result.doubt.bins]
        axes.plot(predicted, measured, label=result.name, **_style(number))
        furthest = max(furthest, *predicted, *measured)
    axes.plot((0, furthest), (0, furthest), color=_GREY, linewidth=1, label="as it should be")
    axes.set(xlim=(0, 1.05 * furthest), ylim=(0, 1.05 * furthest))
    axes.set_xlabel("predicted standard deviation per axis, degrees")
    axes.set_ylabel("measured standard deviation per axis, degrees")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def draw_zones(evaluation: Evaluation) -> Figure | None:
    """Confusion of zones of the judged predictor: shares of each true zone, and counts."""
    result = evaluation.summary.predictors[0]
    if result.zones is None:
        return None
    counts = np.array(result.zones.confusion)
    seen = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    names = [ZONES[number].replace("_", " ") for number in seen]
    counts = counts[np.ix_(seen, seen)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(1.9 + 0.62 * len(seen), 1.5 + 0.55 * len(seen)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark = shares[row, column] > 0.55
        text = f"{100 * shares[row, column]:.0f} %\n{counts[row, column]}"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    axes.set_xticks(range(len(seen)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(seen)), names)
    axes.set(xlabel="zone found", ylabel="true zone")
    axes.set_title(f"{result.name}: % of the true zone, and frames", fontsize="medium")
    return figure


def draw_locations(evaluation: Evaluation) -> Figure | None:
    """True and found places on the road view, of the judged predictor, in shares of its width and height."""
    rows, (name, measured) = evaluation.rows, next(iter(evaluation.measured.items()))
    known = np.flatnonzero(np.isfinite(measured.errors["location"]))
    if not len(known):
        return None
    shown = np.sort(np.random.default_rng(0).permutation(known)[:_SHOWN_PLACES])
    size_px = rows.road_size_px[shown]
    truth, found = (100 * (place[shown] + 0.5) / size_px for place in (rows.location_px, measured.location_px))
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.add_collection(LineCollection(list(np.stack([truth, found], axis=1)), colors=_GREY, linewidths=0.6, zorder=1))
    axes.scatter(truth[:, 0], truth[:, 1], s=16, color=_COLOURS[2], label="true", zorder=3)
    axes.scatter(found[:, 0], found[:, 1], s=16, color=_COLOURS[1], marker="x", linewidths=1.2, label="found", zorder=2)
    axes.plot((0, 100, 100, 0, 0), (0, 0, 100, 100, 0), color="black", linewidth=1)
    axes.set(xlim=(-25, 125), ylim=(125, -25))
    axes.set(xlabel="across the road view, %", ylabel="down the road view, %")
    axes.set_title(f"{name}: {len(shown)} of {len(known)} places, drawn at random", fontsize="medium")
    axes.legend(loc="lower right")
    return figure


# --- contact sheets ---

_FACE_PX, _EYE_PX, _GAP_PX, _TEXT_PX, _TITLE_PX = 192, (94, 47), 4, 34, 44
_TILE_PX = (_FACE_PX + 2 * _GAP_PX, _FACE_PX + _EYE_PX[1] + 2 * _GAP_PX + _TEXT_PX)


def draw_faces(
    evaluation: Evaluation, sessions: Sequence[SessionSamples], chosen: NDArray[np.intp], title: str, columns: int = 6
) -> bytes:
    """A contact sheet of rows of the evaluation: face and eyes as the network sees them, true and found gaze."""
    rows, measured = evaluation.rows, next(iter(evaluation.measured.values()))
    lines = -(-len(chosen) // columns)
    width, height = columns * _TILE_PX[0], _TITLE_PX + lines * _TILE_PX[1]
    canvas = np.full((height, width, 3), 255, np.uint8)
    figure = Figure(figsize=(width / _DPI, height / _DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.set_axis_off()
    axes.text(_GAP_PX, _TITLE_PX / 2, title, va="center", fontsize=10)
    for right, word, colour in ((width - 60, "found", "#d8430c"), (width - 8, "true", "#008a60")):
        axes.text(right, _TITLE_PX / 2, word, va="center", ha="right", fontsize=10, color=colour, weight="bold")
    for place, index in enumerate(chosen.tolist()):
        samples, row = sessions[rows.session[index]], rows.row[index]
        x, y = (place % columns) * _TILE_PX[0] + _GAP_PX, _TITLE_PX + (place // columns) * _TILE_PX[1]
        _paste(canvas, samples.arrays["face"][row], (x, y), (_FACE_PX, _FACE_PX))
        for number, eye in enumerate(("right_eye", "left_eye")):
            aside = x + number * (_EYE_PX[0] + _GAP_PX)
            _paste(canvas, samples.arrays[eye][row], (aside, y + _FACE_PX + _GAP_PX), _EYE_PX)
        for ray, colour in ((rows.ray[index], TRUE_COLOUR), (measured.ray[index], FOUND_COLOUR)):
            _arrow(axes, (x, y), rows.view[index], ray, colour)
        caption = f"{measured.errors['ray'][index]:.1f} deg, {samples.light or 'light unknown'}\n"
        caption += f"{samples.session_id}, frame {samples.arrays['frame'][row]}"
        axes.text(x, y + _FACE_PX + _EYE_PX[1] + 2 * _GAP_PX, caption, va="top", fontsize=5.5)
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    return _png(figure)


def _paste(canvas: NDArray[np.uint8], crop: NDArray[np.uint8], corner: tuple[int, int], size: tuple[int, int]) -> None:
    """Put a crop (channels, height, width), grey or RGB, onto the sheet."""
    planes = cv2.resize(np.ascontiguousarray(crop.transpose(1, 2, 0)), size, interpolation=cv2.INTER_CUBIC)
    (x, y), (width, height) = corner, size
    canvas[y : y + height, x : x + width] = planes.reshape(height, width, -1)


def _arrow(axes: Axes, corner: tuple[int, int], view: Floats, ray: Floats, colour: str) -> None:
    """A ray from between the eyes, as the crop's own camera sees it: short where it comes towards the camera."""
    x, y = corner[0] + _FACE_PX / 2, corner[1] + _FACE_PX * (0.5 - FACE_DOWN_MM / FACE_MM)
    across = _ARROW * _FACE_PX * (view.T @ ray)[:2]
    if not np.isfinite(across).all():
        return
    arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (x + across[0], y + across[1]), (x, y), arrowprops=arrow)
    axes.plot(x, y, "o", color=colour, markersize=2.5)


def _png(figure: Figure) -> bytes:
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
