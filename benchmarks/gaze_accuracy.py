"""The gaze network, measured: on rendered people it has never seen, on real pictures, in time, and part by part.

usage: python -m benchmarks.gaze_accuracy [--sets FOLDER] [--data FOLDER] [--work FOLDER] [--quick]
The sets are those of `make gaze-set`. Judges the packaged bundle, through the device's own code; trains what it is
compared with (recipes of `dashgaze.training.gaze`) into the work folder, two at a time on one thread each, and takes
from there what is trained already. Writes benchmarks/results/gaze_accuracy.json, .md and .png; `--quick` trains for one
epoch and writes into the work folder. Intervals are 95 %, bootstrap over sessions, one per person.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import gaze_real, glances, table_12_1
from benchmarks.device import CLIP, Peer, clips, time_against_peer
from benchmarks.record import RESULTS, write_results
from benchmarks.table_12_1 import TRAINING_DRIVES, first_drives
from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.device.crops import GazeInputs
from dashgaze.device.network import GazeNetwork
from dashgaze.device.records import HeadPose
from dashgaze.errors import DashgazeError
from dashgaze.export.gaze import parity
from dashgaze.geometry import FACING, Floats, angles_from_rays, rays_from_angles, unit
from dashgaze.training.gaze.baselines import (
    CameraFrameWithHeadPose,
    Constant,
    Geometric,
    HeadOnly,
    LandmarkRidge,
    mean_gaze,
)
from dashgaze.training.gaze.config import GazeConfig, read_gaze_config
from dashgaze.training.gaze.describe import describe
from dashgaze.training.gaze.evaluate import (
    Evaluation,
    NetworkPredictor,
    Predictions,
    Predictor,
    Quantity,
    evaluate,
    face_angles,
    rigid_location_px,
)
from dashgaze.training.gaze.metrics import Statistics
from dashgaze.training.gaze.pictures import draw_subsets
from dashgaze.training.gaze.report import write_report
from dashgaze.training.gaze.runs import fingerprint, load_run, read_metrics
from dashgaze.training.gaze.samples import SessionSamples, prepare
from dashgaze.training.gaze.train import train
from dashgaze.training.gaze.unlabelled import unlabelled_samples

ROOT = Path(__file__).parents[1]
PROCESSES = 2
SHORT = "edge-short"
ABLATIONS = (
    SHORT,
    "no-mesh",
    "no-head-pose",
    "no-uncertainty",
    "no-augmentation",
    "no-driver-view",
    "direct-location",
    "mixture",
    "landmarks-only",
    "idgaze",
    "consistency",
)
"""Recipes, each but `idgaze` being `edge-short` with one thing changed; what they are is in their files."""
TRAINED_HERE = ("direct-location", "idgaze", "landmarks-only")
"""Those of them that stand beside the shipped network on the test set."""
SEEDS = 3
ALERT_HOURS = 20.0
REAL_FRAMES = 64
SHIPPED = "network"
BESIDE = (SHIPPED, "fused", "geometric", "head only", "constant")
"""What tables and pictures of subsets show."""


class ShippedNetwork:
    """The bundle's network, row by row, by the code that the device runs; never what the device would fall back on."""

    name = SHIPPED

    def __init__(self, bundle: Bundle) -> None:
        self._network = GazeNetwork(bundle)

    def predict(self, samples: SessionSamples) -> Predictions:
        """Ray and its error, face angles by the device's head pose, the place on the road view by pair and residual."""
        arrays = samples.arrays
        looks = [self._network.look(_inputs(arrays, row), _head(arrays, row)) for row in range(len(samples))]
        ray = np.array([look.ray for look in looks]).reshape(-1, 3)
        residual = np.array([look.road_residual_deg or (np.nan, np.nan) for look in looks]).reshape(-1, 2)
        return Predictions(
            ray=ray,
            ray_error_deg=np.array([look.error_deg for look in looks]),
            face_deg=face_angles(ray, np.asarray(arrays["head_rotation"], float)),
            location_px=_placed(samples, ray, residual),
        )


@dataclass(frozen=True)
class RigidPair:
    """Another predictor's ray, placed on the road view by the pair of cameras alone."""

    of: Predictor
    name: str

    def predict(self, samples: SessionSamples) -> Predictions:
        """The ray, and its place."""
        said = self.of.predict(samples)
        assert said.ray is not None
        return Predictions(ray=said.ray, location_px=rigid_location_px(samples, said.ray))


@dataclass(frozen=True)
class Fused:
    """Two rays, weighted by the inverse of their variances as by `device.network.FusedGaze`, but whatever the doubt."""

    first: Predictor
    second: Predictor
    name: str = "fused"

    def predict(self, samples: SessionSamples) -> Predictions:
        """Rays and angles; the first's where the second has none."""
        one, two = self.first.predict(samples), self.second.predict(samples)
        assert one.ray is not None
        assert two.ray is not None
        assert one.ray_error_deg is not None
        assert two.ray_error_deg is not None
        weights = [np.nan_to_num(said.ray_error_deg**-2.0)[:, None] for said in (one, two)]  # type: ignore[operator]
        ray = unit(weights[0] * one.ray + weights[1] * np.nan_to_num(two.ray))
        return Predictions(
            ray=ray,
            ray_error_deg=(weights[0] + weights[1])[:, 0] ** -0.5,
            face_deg=face_angles(ray, np.asarray(samples.arrays["head_rotation"], float)),
        )


def _inputs(arrays: Mapping[str, Any], row: int) -> GazeInputs:
    names = GazeInputs.__dataclass_fields__
    return GazeInputs(**{name: np.ascontiguousarray(arrays[name][row]) for name in names})


def _head(arrays: Mapping[str, Any], row: int) -> HeadPose:
    """The head as far as the network asks for it."""
    rotation, position = (np.asarray(arrays[name][row], float) for name in ("head_rotation", "head_mm"))
    return HeadPose(rotation, position, yaw_deg=np.nan, pitch_deg=np.nan, roll_deg=np.nan, error_px=np.nan)


def _placed(samples: SessionSamples, ray: Floats, residual_deg: Floats) -> Floats | None:
    """Places (n, 2) on the road view: `device.road`, with the pair as it is where nothing is configured."""
    if samples.road_camera is None:
        return None
    azimuth, elevation = angles_from_rays(ray @ FACING)
    told = samples.road_camera.project(rays_from_angles(azimuth + residual_deg[:, 0], elevation + residual_deg[:, 1]))
    rigid = rigid_location_px(samples, ray)
    assert rigid is not None
    return np.where(np.isnan(residual_deg[:, :1]), rigid, told)


# --- what is trained ---


def recipe(name: str, sets: Path, data: Path, seed: int, quick: bool) -> GazeConfig:
    """A recipe on the first drives of the sets, one thread."""
    overrides: dict[str, dict[str, Any]] = {
        "data": {"train": first_drives(sets / "train"), "validation": [str(sets / "validation")]},
        "training": {"seed": seed, "threads": 1} | ({"epochs": 1} if quick else {}),
    }
    if name == "consistency":
        overrides["data"]["unlabelled"] = str(data / gaze_real.FAIRFACE)
    return read_gaze_config(name, overrides)


def train_all(configs: Sequence[GazeConfig], folders: Sequence[Path]) -> None:
    """Train what is not complete yet, two at a time."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
        list(processes.map(_train, configs, folders))


def _train(config: GazeConfig, folder: Path) -> None:
    """Train, or make sure that what is there came from the same configuration and data."""
    with folder.with_name(f"{folder.name}.log").open("a") as log, redirect_stderr(log):
        train(config, folder)


# --- parts of the benchmark ---


def judge_ablations(sets: Path, data: Path, work: Path, quick: bool) -> list[dict[str, Any]]:
    """Validation error on renders, and score on real pictures of the tuning half, of each recipe."""
    configs = [recipe(name, sets, data, 0, quick) for name in ABLATIONS]
    folders = [work / name for name in ABLATIONS]
    train_all(configs, folders)
    # A run that was trained on the real pictures of the tuning half cannot be judged on them.
    judged = [
        folder
        for config, folder in zip(configs, folders, strict=True)
        if config.model.ray and config.data.unlabelled is None
    ]
    scores = real_scores(judged, data, work)
    rows = []
    for name, config, folder in zip(ABLATIONS, configs, folders, strict=True):
        errors: dict[str, Any] = {quantity: found.mean for quantity, found in read_metrics(folder).errors.items()}
        parameters = describe(config.model)["parameters"]
        rows.append({"name": name, "parameters": parameters, **errors, "real_score": scores.get(name)})
        print(rows[-1], flush=True)
    return rows


def real_scores(runs: Sequence[Path], data: Path, work: Path) -> dict[str, float]:
    """`gaze_real.selection_score` of runs by their names, all looking at the same faces."""
    looks: list[gaze_real.Looker] = []
    for run in runs:
        _, found = gaze_real.open_looks(run, work / f"{run.name}-bundle")
        looks += [replace(look, name=run.name) for look in found if look.name == SHIPPED]
    real = gaze_real.check(looks, data, "tuning")
    return {look.name: gaze_real.selection_score(real, look.name) for look in looks}


def judge_test(sets: Path, work: Path, bundle: Bundle) -> Evaluation:
    """Everything beside everything on the test set; also written as a report into the work folder."""
    plan = GazeNetwork(bundle).plan
    training, test = (prepare([sets / name], plan, PROCESSES) for name in ("train", "test"))
    network, geometric = ShippedNetwork(bundle), Geometric(bundle)
    predictors: list[Predictor] = [
        network,
        geometric,
        Fused(network, geometric),
        HeadOnly(),
        Constant(mean_gaze(training.sessions)),
        LandmarkRidge.fit(training.sessions),
        RigidPair(network, "network, rigid pair"),
        CameraFrameWithHeadPose(LandmarkRidge.fit(training.sessions)),
    ]
    predictors += [NetworkPredictor(name, load_run(work / name)[1]) for name in TRAINED_HERE]
    evaluation = evaluate(predictors, test, ("constant", "geometric"))
    write_report(evaluation, test.sessions, work / "report")
    return evaluation


def parity_on_real_frames(run: Path, bundle: Bundle, data: Path) -> float | None:
    """Largest difference between the run's network and the bundle's graph; None where the run is not there."""
    if not run.is_dir() or fingerprint(run) != bundle.manifest.training_fingerprint:
        return None
    network, factor = load_run(run)[1], read_metrics(run).error_factor or 1.0
    inputs = unlabelled_samples(data / gaze_real.FAIRFACE, GazeNetwork(bundle).plan, REAL_FRAMES)
    return parity(network, bundle.read("gaze"), inputs, factor)


def alerts_per_hour(evaluation: Evaluation) -> dict[str, Any]:
    """Alerts in simulated attentive driving, with the network's and the geometric estimator's errors per axis."""
    found: dict[str, Any] = {}
    for name in (SHIPPED, "geometric"):
        rmse = [evaluation.summary.of(name).axes[f"camera_{axis}"].rmse for axis in ("azimuth", "elevation")]
        error_deg = float(np.sqrt(np.mean(np.square(np.array(rmse, float)))))
        alerts = glances.false_alerts_per_hour(ALERT_HOURS, seed=0, glance_error_deg=error_deg)
        found[name] = {"error_deg": error_deg, "per_hour": alerts.per_hour, "interval": alerts.interval_per_hour}
    return found


def main() -> None:
    """Run everything, print and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sets", type=Path, default=ROOT / "sets" / "standard", help="folder of train, validation, test"
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of real recordings")
    parser.add_argument(
        "--work", type=Path, default=ROOT / ".demo" / "bench" / "gaze", help="folder for what is trained"
    )
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "edge", help="what the bundle's network comes from")
    parser.add_argument("--quick", action="store_true", help="one epoch, one seed: shows that everything runs")
    arguments = parser.parse_args()
    sets, data = arguments.sets.resolve(), arguments.data.resolve()
    work = arguments.work.resolve() / ("quick" if arguments.quick else "full")
    work.mkdir(parents=True, exist_ok=True)
    try:
        measure(sets, data, work, arguments.run.resolve(), arguments.quick)
    except DashgazeError as error:
        sys.exit(f"{error}")


def measure(sets: Path, data: Path, work: Path, run: Path, quick: bool) -> None:
    """All parts, one after the other."""
    bundle = packaged_bundle()
    ablations = judge_ablations(sets, data, work, quick)
    evaluation = judge_test(sets, work, bundle)
    looks = gaze_real.looks_of(bundle) + gaze_real.baselines(bundle)
    real = gaze_real.check(looks, data, "held-out", bundle)
    score = gaze_real.selection_score(gaze_real.check(looks[:1], data, "tuning", bundle))
    alerts = alerts_per_hour(evaluation)
    peer = Peer(work)
    timed = {
        clip.name: time_against_peer(peer, clip, work, SHIPPED)[0]
        for clip in clips(data, work)
        if clip.name in (CLIP, "no.mkv")
    }
    table = table_12_1.run(sets, work / "table-12-1", SEEDS, quick)
    summary = evaluation.summary
    metrics = {
        "ray_error_deg": summary.of(SHIPPED).quantities["ray"].total.mean,
        "ray_error_vs_constant": ratio(evaluation, "ray", "constant"),
        "ray_error_vs_geometric": ratio(evaluation, "ray", "geometric"),
        "face_angle_error_vs_constant": ratio(evaluation, "face", "constant"),
        "location_error_vs_constant": ratio(evaluation, "location", "constant"),
        "location_error_vs_geometric": ratio(evaluation, "location", "geometric"),
        "rest_jitter_vs_geometric": real.looks[SHIPPED].numbers["jitter_ratio"].value,
        "gaze_parts_mb": len(bundle.read("gaze")) / 1e6,
        "default_pipeline_time_ratio": max(timed.values()),
        "onnx_parity_max_abs": parity_on_real_frames(run, bundle, data),
        "ablation_rows": len(ablations) - 1,
    }
    text = report(metrics, evaluation, ablations, table, real, score, alerts, timed)
    place = work if quick else RESULTS
    figure = draw_subsets(among(evaluation, BESIDE))
    if figure is not None:
        figure.savefig(place / "gaze_accuracy.png", dpi=110)
    write_results("gaze_accuracy", "python -m benchmarks.gaze_accuracy", metrics, text, place)


def among(evaluation: Evaluation, names: Sequence[str]) -> Evaluation:
    """The evaluation of some of its predictors, for a picture that can be read."""
    predictors = tuple(evaluation.summary.of(name) for name in names)
    return replace(evaluation, summary=evaluation.summary.model_copy(update={"predictors": predictors}))


def ratio(evaluation: Evaluation, quantity: Quantity, reference: str) -> float | None:
    """Mean error of the shipped network over that of a reference, on the rows that both answer."""
    return evaluation.summary.of(SHIPPED).quantities[quantity].ratios[reference].value


# --- report ---


def report(
    metrics: Mapping[str, float | None],
    evaluation: Evaluation,
    ablations: Sequence[Mapping[str, Any]],
    table: Mapping[str, Any],
    real: gaze_real.RealCheck,
    score: float,
    alerts: Mapping[str, Any],
    timed: Mapping[str, float],
) -> str:
    """The numbers behind the metrics, as Markdown."""
    summary = evaluation.summary
    lines = ["# The gaze network", "", "| metric | value |", "| --- | --- |"]
    lines += [f"| {name} | {'-' if value is None else f'{value:.4g}'} |" for name, value in metrics.items()]
    lines += ["", "![Errors by subset](gaze_accuracy.png)", "", "## Rendered people it has never seen", ""]
    lines += [
        f"{len(summary.sessions)} sessions of {len(summary.drivers)} people, {summary.rows} frames with a known gaze "
        f"and an open, visible eye; on {summary.missed} more of {summary.considered} the device found no face. Mean "
        "errors, 95 % intervals over sessions; no filter over time. Locations in pixels of a road view 1920 wide, "
        "where the true gaze is on it. The network is asked however much it doubts itself. "
        f"{', '.join(TRAINED_HERE)} learned from the first {TRAINING_DRIVES} drives only, as the ablations below; all "
        "else that is trained from the whole training set.",
        "",
        "| estimator | ray, deg | median | 90 % below | face angles, deg | location, px |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for result in summary.predictors:
        totals = {
            name: result.quantities[name].total if name in result.quantities else None
            for name in ("ray", "face", "location")
        }
        ray = totals["ray"]
        median, p90 = (None, None) if ray is None else (ray.median, ray.p90)
        lines.append(
            f"| {result.name} | {written(ray)} | {number(median)} | {number(p90)} "
            f"| {written(totals['face'])} | {written(totals['location'], 0)} |"
        )
    lines += ["", *subset_tables(evaluation), *zone_lines(evaluation), *doubt_lines(evaluation)]
    lines += ["## Alerts in simulated attentive driving", "", *alert_lines(alerts), ""]
    lines += ["## What each part is worth", "", *ablation_lines(ablations), ""]
    lines += [f"The shipped network's own score on the tuning half: {score:.3f}.", ""]
    lines += [table_12_1.markdown(table), "", "## Real pictures, held-out half", "", gaze_real.markdown(real), ""]
    lines += ["## Time and size", ""]
    lines += [
        f"- {name}: {value:.3f} of the peer's time (MediaPipe's landmarker alone), one core"
        for name, value in timed.items()
    ]
    lines += [f"- the network: {metrics['gaze_parts_mb']:.1f} MB; {shape_text('edge')}"]
    lines += [f"- the thesis' configuration, not trained here: {shape_text('thesis')}", ""]
    return "\n".join(lines)


def shape_text(name: str) -> str:
    """Size of a recipe's network."""
    found = describe(read_gaze_config(name).model)
    return f"{found['parameters'] / 1e6:.2f} million parameters, {found['flops'] / 1e9:.2f} GFLOP a frame"


def written(found: Statistics | None, digits: int = 2) -> str:
    """Mean and interval."""
    if found is None or found.mean is None:
        return "-"
    interval = "" if found.interval is None else f" ({found.interval[0]:.{digits}f} to {found.interval[1]:.{digits}f})"
    return f"{found.mean:.{digits}f}{interval}"


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def subset_tables(evaluation: Evaluation) -> list[str]:
    """The ray's error by subset, beside the baselines."""
    names = BESIDE
    results = {name: evaluation.summary.of(name).quantities["ray"] for name in names}
    lines = ["Ray errors by subset, degrees; few: fewer than 30 frames or 3 sessions.", ""]
    lines += [f"| subset | frames | {' | '.join(names)} |", "| --- | --- |" + " --- |" * len(names)]
    for group, subsets in results[SHIPPED].subsets.items():
        if group == "driver":
            continue
        for subset, found in subsets.items():
            cells = [written(results[name].subsets[group][subset]) for name in names]
            few = " (few)" if found.few else ""
            lines.append(f"| {group}: {subset}{few} | {found.rows} | {' | '.join(cells)} |")
    drivers = sorted(found.mean for found in results[SHIPPED].subsets["driver"].values() if found.mean is not None)
    if drivers:
        low, middle, high = np.percentile(drivers, [10, 50, 90])
        lines += ["", f"Over people: median {middle:.2f}, a tenth below {low:.2f}, a tenth above {high:.2f}."]
    return [*lines, ""]


def zone_lines(evaluation: Evaluation) -> list[str]:
    """Balanced accuracies of the zones."""
    ceiling = evaluation.summary.zone_ceiling
    lines = ["Zones of the car, with the true mount of the camera (this judges the gaze, not the calibration):", ""]
    lines += ["| estimator | zone, balanced accuracy | on the road or not |", "| --- | --- | --- |"]
    rows = [(result.name, result.zones) for result in evaluation.summary.predictors] + [("the true ray", ceiling)]
    lines += [
        f"| {name} | {number(zones.balanced_accuracy)} | {number(zones.road_balanced_accuracy)} |"
        for name, zones in rows
        if zones is not None
    ]
    return [*lines, ""]


def doubt_lines(evaluation: Evaluation) -> list[str]:
    """How far predicted errors can be believed."""
    lines = ["Predicted standard deviations against errors (AUSE: 0 is an oracle's order, `blind` says nothing):", ""]
    lines += ["| estimator | within 1 sd | within 2 sd | AUSE | blind |", "| --- | --- | --- | --- | --- |"]
    for name in (SHIPPED, "fused", "geometric"):
        doubt = evaluation.summary.of(name).doubt
        if doubt is not None:
            shares = f"{doubt.within_one_sd:.2f} | {doubt.within_two_sd:.2f}"
            lines.append(
                f"| {name} | {shares} | {doubt.sparsification_error:.2f} | {doubt.blind_sparsification_error:.2f} |"
            )
    return [*lines, ""]


def alert_lines(alerts: Mapping[str, Any]) -> list[str]:
    """Alerts an hour with each estimator's error lasting through each glance."""
    return [
        f"- {name}: {found['per_hour']:.1f} an hour ({found['interval'][0]:.1f} to {found['interval'][1]:.1f}) with "
        f"{found['error_deg']:.1f} deg per axis through each glance"
        for name, found in alerts.items()
    ]


def ablation_lines(ablations: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ablations as a table, errors on the validation set."""
    lines = [
        f"Each is `{SHORT}` with one thing changed, `idgaze` a network of its own, one seed, {TRAINING_DRIVES} drives; "
        "mean errors on the validation set, and the score on real pictures of the tuning half (larger is better). Face "
        "angles are those of their own head, where there is one. `consistency` was trained to agree with itself on "
        "those very pictures, which is part of the score: its score cannot be held against the others'.",
        "",
        "| recipe | parameters, million | ray, deg | face angles, deg | location, px | real score |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return lines + [
        f"| {row['name']} | {row['parameters'] / 1e6:.2f} | {number(row.get('ray_deg'))} "
        f"| {number(row.get('face_deg'))} | {number(row.get('location_px'), 0)} | {number(row['real_score'], 3)} |"
        for row in ablations
    ]


if __name__ == "__main__":
    main()
