"""A training run's network into a bundle, beside the parts of another bundle.

The part `gaze` is the network as ONNX (`dashgaze.export.gaze`); the manifest's calibration `gaze_crops` tells the
device which pictures it takes, and its metrics what was measured of it. The same run and base give the same bytes: the
bundle's date is that of the base unless one is named.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import JsonValue

from dashgaze.bundle import MAX_PART_BYTES, Bundle, Manifest, Part, Source, sha256_of, write_bundle
from dashgaze.device.crops import CropPlan
from dashgaze.device.headpose import CanonicalFace
from dashgaze.device.network import CALIBRATION, PART
from dashgaze.errors import DashgazeError, InputError
from dashgaze.export.gaze import TOLERANCE, Arrays, export_onnx, input_tensors, output_tensors, parity
from dashgaze.export.quantise import Comparison, compare, quantise_int8
from dashgaze.export.signing import read_key_of_maker
from dashgaze.export.verify import posed_inputs
from dashgaze.session import read_record
from dashgaze.training.gaze import runs
from dashgaze.training.gaze.config import GazeConfig, ModelConfig
from dashgaze.training.gaze.evaluate import PredictorResult, Summary
from dashgaze.training.gaze.metrics import Statistics
from dashgaze.training.gaze.model import INPUTS
from dashgaze.training.gaze.runs import Metrics, RunRecord
from dashgaze.training.gaze.samples import prepare

EVALUATION = Path("evaluation", "evaluation.json")
"""What `dashgaze train evaluate` found, in the run's folder."""
LICENCE = "Apache-2.0"
LARGEST_CHANGE_DEG = 0.5
"""Mean change of the gaze direction that eight bits may cost."""

_PARITY_SAMPLES = 8
_CALIBRATION_SAMPLES, _CALIBRATION_BATCH = 256, 32
_GROUPS = ("light", "glasses")
"""Subsets whose errors go into the manifest."""


@dataclass(frozen=True, slots=True)
class MadeBundle:
    """What `dashgaze.bundle.write_bundle` needs, and what was found on the way."""

    manifest: Manifest
    files: dict[str, bytes]
    """By file name."""
    parity: float
    """`dashgaze.export.gaze.parity` of the graph before quantisation."""
    comparison: Comparison | None
    """Of the quantised graph with the one it was made from."""


def export_bundle(
    run: Path,
    out: Path,
    base: Bundle,
    quantise: Literal["int8"] | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    created: datetime | None = None,
    calibration: Sequence[Path] = (),
    key: Path | None = None,
) -> MadeBundle:
    """Write `bundle_of_run` into a folder, signed where a private key is named; an older bundle there is replaced.

    `out` may be the base. Raises what `bundle_of_run` and `write_bundle` do; InputError for a key that is none.
    """
    private_key = None if key is None else read_key_of_maker(key, out)
    made = bundle_of_run(run, base, quantise, name=name, version=version, created=created, calibration=calibration)
    write_bundle(out, made.manifest, made.files, private_key)
    return made


def bundle_of_run(
    run: Path,
    base: Bundle,
    quantise: Literal["int8"] | None = None,
    *,
    name: str | None = None,
    version: str | None = None,
    created: datetime | None = None,
    calibration: Sequence[Path] = (),
) -> MadeBundle:
    """The base with the run's network as its part `gaze`; what is not named is the base's.

    `calibration` are sets of sessions for quantisation, the run's validation sets if there are none. Raises InputError
    for a run that has no weights, or whose evaluation saw people it was trained on; DashgazeError where the graph
    differs from the network, or a device cannot hold it.
    """
    config, network, record = runs.load_run(run)
    measured = runs.read_metrics(run)
    factor = 1.0 if measured.error_factor is None else measured.error_factor
    graph = export_onnx(network, factor)
    posed = posed_inputs(CanonicalFace.from_bundle(base), config.model.crops, _PARITY_SAMPLES)
    difference = parity(network, graph, posed, factor)
    if not difference <= TOLERANCE:
        raise DashgazeError(str(run), f"the exported network differs by {difference:.1e} > {TOLERANCE:.0e}")
    metrics, fingerprint = run_metrics(run, record, measured), runs.fingerprint(run)
    comparison = None
    if quantise is not None:
        graph, comparison = _quantised(graph, _calibration(config, calibration))
        metrics |= {f"int8_{key}_mean_change": value for key, value in comparison.mean_change.items()}
    if len(graph) > MAX_PART_BYTES:
        problem = f"the network takes {len(graph) >> 20} MB, a device reads {MAX_PART_BYTES >> 20}"
        raise DashgazeError(str(run), problem, "quantise it, or train a smaller one")
    files = {part.file: base.read(other) for other, part in base.manifest.parts.items() if other != PART}
    manifest = Manifest(
        name=name or record.name,
        version=version or fingerprint[:12],
        created=created or base.manifest.created,
        parts={**base.manifest.parts, PART: _part(run, record, config.model, graph)},
        thresholds=base.manifest.thresholds,
        calibration={**base.manifest.calibration, CALIBRATION: _crops(config.model)},
        metrics=metrics,
        training_fingerprint=fingerprint,
    )
    return MadeBundle(manifest, {**files, manifest.parts[PART].file: graph}, difference, comparison)


def _part(run: Path, record: RunRecord, config: ModelConfig, graph: bytes) -> Part:
    weights = (run / runs.WEIGHTS).read_bytes()
    return Part(
        file=f"{PART}.onnx",
        sha256=sha256_of(graph),
        licence=LICENCE,
        source=Source(name="dashgaze training run", version=record.name, file=runs.WEIGHTS, sha256=sha256_of(weights)),
        inputs=input_tensors(config),
        outputs=output_tensors(config),
    )


def _crops(config: ModelConfig) -> dict[str, JsonValue]:
    """The calibration that `dashgaze.device.network.GazeCrops` reads."""
    plan: CropPlan = config.crops
    return {
        "driver_px": list(plan.driver_px),
        "face_px": list(plan.face_px),
        "eye_px": list(plan.eye_px),
        "channels": plan.channels,
        "location": config.location,
    }


# --- quantisation ---


def _calibration(config: GazeConfig, sets: Sequence[Path]) -> Arrays:
    """Inputs of samples spread over sets of sessions."""
    samples = prepare(sets or config.data.validation, config.model.crops)
    rows = samples.rows()
    chosen = np.linspace(0, len(rows) - 1, min(_CALIBRATION_SAMPLES, len(rows))).astype(int)
    return samples.take(rows[chosen], INPUTS)


def _quantised(graph: bytes, samples: Arrays) -> tuple[bytes, Comparison]:
    """Every other sample sets the ranges, the others tell the change."""
    known, others = ({name: value[first::2] for name, value in samples.items()} for first in (0, 1))
    starts = range(0, len(next(iter(known.values()))), _CALIBRATION_BATCH)
    batches = [{name: value[at : at + _CALIBRATION_BATCH] for name, value in known.items()} for at in starts]
    quantised = quantise_int8(graph, batches)
    comparison = compare(graph, quantised, others)
    change_deg = max((comparison.mean_change.get(name, 0.0) for name in ("ray_deg", "face_deg")), default=0.0)
    if not change_deg <= LARGEST_CHANGE_DEG:
        problem = f"eight bits change the gaze by {change_deg:.2f} degrees on the average"
        raise DashgazeError("quantisation", problem, "export it as it is")
    return quantised, comparison


# --- metrics ---


def run_metrics(run: Path, record: RunRecord, measured: Metrics) -> dict[str, float]:
    """The manifest's metrics: validation errors of the run, and those of its evaluation where there is one.

    Names are split, quantity, statistic and unit (`test_ray_mean_deg`), `_low` and `_high` for the bounds of a 95 %
    interval. Raises InputError for an evaluation on people that the run was trained or its epoch chosen on.
    """
    found: dict[str, float | None] = {}
    for name, errors in measured.errors.items():
        quantity, unit = name.rsplit("_", 1)
        found |= _statistics(f"validation_{quantity}", unit, errors)
    if measured.error_factor is not None:
        found["validation_error_factor"] = measured.error_factor
    evaluation = read_evaluation(run, record)
    if evaluation is not None:
        found |= _evaluated(evaluation, evaluation.of(record.name))
    return {_metric_name(name): float(value) for name, value in found.items() if value is not None}


def read_evaluation(run: Path, record: RunRecord) -> Summary | None:
    """The run's evaluation, None without one.

    Raises InputError unless it is on people whom the run never saw, and of the weights that are there now.
    """
    path = run / EVALUATION
    if not path.is_file():
        return None
    evaluation = read_record(path, Summary)
    known = {driver for data in (record.train, record.validation) for driver in data.drivers if driver}
    seen = sorted(known.intersection(evaluation.drivers))
    if seen:
        problem = f"has {len(seen)} people of training or validation, {seen[0]} among them"
        raise InputError(str(path), problem, "evaluate on a held-out set")
    if record.name not in {found.name for found in evaluation.predictors}:
        raise InputError(str(path), f"says nothing about {record.name}", "evaluate this run")
    if evaluation.run not in (None, runs.fingerprint(run)):
        raise InputError(str(path), "is of other weights than the run has now", "evaluate this run again")
    return evaluation


def _evaluated(evaluation: Summary, network: PredictorResult) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        "test_rows": evaluation.rows,
        "test_sessions": len(evaluation.sessions),
        "test_drivers": len(evaluation.drivers),
        "test_no_face_frac": evaluation.missed / evaluation.considered if evaluation.considered else None,
    }
    for quantity, result in network.quantities.items():
        stem = f"test_{quantity}"
        found |= _statistics(stem, result.unit, result.total)
        for reference, ratio in result.ratios.items():
            found[f"{stem}_to_{reference}_ratio"] = ratio.value
            found |= _bounds(f"{stem}_to_{reference}_ratio", ratio.interval)
        for group in _GROUPS:
            for subset, statistics in result.subsets.get(group, {}).items():
                found[f"{stem}_{group}_{subset}_mean_{result.unit}"] = statistics.mean
    if network.zones is not None:
        found["test_zone_balanced_accuracy"] = network.zones.balanced_accuracy
        found["test_road_balanced_accuracy"] = network.zones.road_balanced_accuracy
    return found


def _statistics(stem: str, unit: str, statistics: Statistics) -> dict[str, float | None]:
    named = {"mean": statistics.mean, "median": statistics.median, "p90": statistics.p90}
    found = {f"{stem}_{name}_{unit}": value for name, value in named.items()}
    return {**found, **_bounds(f"{stem}_mean_{unit}", statistics.interval)}


def _bounds(name: str, interval: tuple[float, float] | None) -> Mapping[str, float]:
    return {} if interval is None else {f"{name}_low": interval[0], f"{name}_high": interval[1]}


def _metric_name(text: str) -> str:
    """A name that the manifest takes: lower case, digits and underscores, at most 64."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:64]
