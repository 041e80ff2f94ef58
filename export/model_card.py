"""The model card of a trained gaze network (Mitchell et al. 2019), in Markdown, out of its run and its evaluation."""

from pathlib import Path

from dashgaze.errors import InputError
from dashgaze.export.bundles import read_evaluation
from dashgaze.tables import write_atomically
from dashgaze.training.gaze import runs
from dashgaze.training.gaze.config import GazeConfig
from dashgaze.training.gaze.evaluate import PredictorResult, Quantity, Summary
from dashgaze.training.gaze.metrics import Interval, Statistics
from dashgaze.training.gaze.runs import DataRecord, RunRecord

_QUANTITIES: dict[Quantity, str] = {
    "ray": "Gaze ray against the camera frame's, degrees",
    "face": "Gaze angles in the face frame, degrees",
    "location": "Place on the road view, pixels of a view 1920 wide",
}
_GROUPS = ("light", "glasses", "camera", "head against camera", "gaze against camera", "distance")
_NONE = "unknown"

_LIMITS = """\
- Gaze was known of rendered people only, and every number above is of rendered people. How large its errors are on
  real drivers is not known: real recordings with a measured gaze were not at hand.
- It has seen no people but those that the renderer can make; what the renderer is not like, and whom it does not show,
  its documentation says (docs/synth.md).
- It has seen no cameras but those the renderer mounts, at the distances and in the light of the tables above.
- It sees single pictures. A frame without a face, or with both eyes shut or hidden, has no gaze; such frames are left
  out of the errors, and counted.
- It is not made to identify people, nor to tell health, mood, age or origin, nor to be the only safeguard of anything.
"""


def model_card(run: Path, evaluation: Summary) -> str:
    """The card of a run, with errors as in its evaluation. Raises InputError for a run without weights."""
    config, _, record = runs.load_run(run)
    network = evaluation.of(record.name)
    sections = [
        f"# Model card: {record.name}",
        _about(config, record, runs.fingerprint(run)),
        "## Data\n\n" + _data(record, evaluation),
        "## Errors on people it never saw\n\n" + _errors(evaluation, network),
        "## By subset\n\n" + _subsets(network),
        "## Limits\n\n" + _LIMITS,
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def write_card(run: Path, path: Path) -> None:
    """Write the card of a run that was evaluated. Raises InputError where it was not, DashgazeError for the disk."""
    evaluation = read_evaluation(run, runs.read_run(run)[1])
    if evaluation is None:
        raise InputError(str(run), "was not evaluated", f"dashgaze train evaluate {run} SESSIONS")
    write_atomically(path, model_card(run, evaluation).encode())


def _about(config: GazeConfig, record: RunRecord, fingerprint: str) -> str:
    model = config.model
    heads = [
        *(["the gaze ray in the camera frame"] if model.ray else []),
        *(["its standard deviation"] if model.ray and model.uncertainty else []),
        *(["azimuth and elevation in the face frame"] if model.face_angles else []),
        *(["the place on the road view"] if model.location != "none" else []),
    ]
    return (
        f"DashGazeNet (`{model.backbone}` backbone, {record.parameters:,} parameters). Takes "
        f"{', '.join(name.replace('_', ' ') for name in model.branches)}; gives {', '.join(heads)}. "
        "Made for cars: on each frame of a camera that sees the driver's face it tells where the driver looks.\n\n"
        f"Seed {record.seed}, epoch {record.best_epoch} of {record.epochs} by validation error; trained with dashgaze "
        f"{record.versions.dashgaze}; run `{fingerprint}`. Licence: Apache-2.0."
    )


def _data(record: RunRecord, evaluation: Summary) -> str:
    rows = [
        ("training", *_counts(record.train), record.train.fingerprint),
        ("validation", *_counts(record.validation), record.validation.fingerprint),
        ("test", len(evaluation.sessions), len(evaluation.drivers), evaluation.rows, evaluation.fingerprint),
    ]
    lines = [f"| {split} | {s:,} | {d:,} | {n:,} | `{mark[:12]}` |" for split, s, d, n, mark in rows]
    extra = "" if not record.unlabelled else f"\n\n{record.unlabelled:,} real pictures without labels took part, too."
    head = "| split | drives | people | frames | fingerprint |\n| --- | ---: | ---: | ---: | --- |\n"
    return "Rendered drives (`dashgaze synth`); nobody is in two splits.\n\n" + head + "\n".join(lines) + extra


def _counts(data: DataRecord) -> tuple[int, int, int]:
    return len(data.sessions), len(data.drivers), data.samples


def _errors(evaluation: Summary, network: PredictorResult) -> str:
    parts = [
        f"{evaluation.rows:,} frames. On {evaluation.missed:,} of the {evaluation.considered:,} frames with a gaze the "
        "device found no face. Intervals are 95 %, over drives."
    ]
    for quantity, title in _QUANTITIES.items():
        if quantity not in network.quantities:
            continue
        lines = ["| | mean | median | 90th percentile | network over it |", "| --- | ---: | ---: | ---: | ---: |"]
        for predictor in evaluation.predictors:
            result = predictor.quantities.get(quantity)
            if result is None:
                continue
            ratio = network.quantities[quantity].ratios.get(predictor.name)
            compared = "" if ratio is None else _with_interval(ratio.value, ratio.interval)
            lines.append(f"| {predictor.name} | {_numbers(result.total)} | {compared} |")
        parts.append(f"{title}:\n\n" + "\n".join(lines))
    if network.zones is not None:
        zones, ceiling = network.zones, evaluation.zone_ceiling
        most = "" if ceiling is None else f" (true rays: {_number(ceiling.balanced_accuracy)})"
        parts.append(
            f"Zones of the cabin: balanced accuracy {_number(zones.balanced_accuracy)}{most}; "
            f"road or not: {_number(zones.road_balanced_accuracy)}."
        )
    if network.doubt is not None:
        parts.append(
            f"Errors within the standard deviation that it predicts: {network.doubt.within_one_sd:.0%}; within two: "
            f"{network.doubt.within_two_sd:.0%}."
        )
    return "\n\n".join(parts)


def _subsets(network: PredictorResult) -> str:
    quantity = next((name for name in _QUANTITIES if name in network.quantities), None)
    if quantity is None:
        return "None."
    lines = ["| | | frames | mean | median | 90th percentile |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for group in _GROUPS:
        for name, subset in network.quantities[quantity].subsets.get(group, {}).items():
            few = " (few)" if subset.few else ""
            lines.append(f"| {group} | {name} | {subset.rows:,}{few} | {_numbers(subset)} |")
    return f"{_QUANTITIES[quantity]}:\n\n" + "\n".join(lines)


def _numbers(statistics: Statistics) -> str:
    mean = _with_interval(statistics.mean, statistics.interval)
    return f"{mean} | {_number(statistics.median)} | {_number(statistics.p90)}"


def _with_interval(value: float | None, interval: Interval | None) -> str:
    return _number(value) + ("" if interval is None else f" ({_number(interval[0])} to {_number(interval[1])})")


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"
