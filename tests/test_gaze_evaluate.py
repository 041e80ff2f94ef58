"""Evaluation: errors that are known beforehand, subsets that add up, nothing hidden; and the report."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gaze_samples import changed, reordered, sample_set, session

from dashgaze.device.crops import view_angles
from dashgaze.errors import InputError
from dashgaze.geometry import Floats, facing_angles_deg, rotation_y, unit
from dashgaze.session import Session, read_record, write_record
from dashgaze.training.gaze.baselines import Constant, HeadOnly, mean_gaze
from dashgaze.training.gaze.config import GazeConfig, ModelConfig
from dashgaze.training.gaze.evaluate import (
    ZONES,
    Evaluation,
    NetworkPredictor,
    Predictions,
    Summary,
    evaluate,
    face_angles,
    rigid_location_px,
)
from dashgaze.training.gaze.model import DashGazeNet
from dashgaze.training.gaze.report import evaluate_run, write_report
from dashgaze.training.gaze.runs import fingerprint, read_run
from dashgaze.training.gaze.samples import SessionSamples
from dashgaze.training.gaze.train import train

SESSIONS = [session(number) for number in range(6)]
SET = sample_set(SESSIONS)


@dataclass(frozen=True)
class Truth:
    """Says the truth, or what `spoil` makes of it."""

    spoil: Callable[[Predictions], Predictions] = lambda said: said
    name: str = "truth"

    def predict(self, samples: SessionSamples) -> Predictions:
        arrays = samples.arrays
        ray = np.array(arrays["ray"])
        places = rigid_location_px(samples, ray)
        return self.spoil(Predictions(ray, np.full(len(ray), 2.0), np.array(arrays["face_deg"]), places))


def turned(said: Predictions, turn_deg: float) -> Predictions:
    assert said.ray is not None
    aside = unit(np.cross(said.ray, [0.2, 1.0, 0.1]))
    angle = np.radians(turn_deg)
    return replace(said, ray=np.cos(angle) * said.ray + np.sin(angle) * aside)


def with_holes(values: Floats | None, every: int) -> Floats:
    assert values is not None
    holes = np.array(values, float)
    holes[::every] = np.nan
    return holes


def test_a_perfect_predictor_makes_no_error() -> None:
    result = evaluate([Truth()], SET).summary.of("truth")
    for quantity in ("ray", "face", "location"):
        total = result.quantities[quantity].total
        assert total.mean == pytest.approx(0, abs=1e-5)
        assert total.interval == pytest.approx((0, 0), abs=1e-5)
        assert result.quantities[quantity].missing == 0
    for axis in result.axes.values():
        assert axis.bias == pytest.approx(0, abs=1e-9)
        assert axis.slope == pytest.approx(1)


def test_the_zones_of_a_perfect_predictor_are_the_true_ones() -> None:
    summary = evaluate([Truth()], SET).summary
    zones = summary.of("truth").zones
    assert zones is not None
    confusion = np.array(zones.confusion)
    assert np.array_equal(confusion, np.diag(np.diag(confusion)))
    assert confusion.sum() == zones.rows == summary.rows
    assert zones.balanced_accuracy == zones.road_balanced_accuracy == 1
    assert summary.zone_ceiling == zones
    for name, counts in zip(ZONES, confusion, strict=True):
        assert counts.sum() == sum((samples.arrays["zone"] == name).sum() for samples in SESSIONS)


def test_an_offset_of_five_degrees_is_an_error_of_five_degrees() -> None:
    total = evaluate([Truth(lambda said: turned(said, 5))], SET).summary.of("truth").quantities["ray"].total
    assert (total.mean, total.median, total.p90, total.rmse) == pytest.approx((5, 5, 5, 5))


def shifted(said: Predictions) -> Predictions:
    assert said.location_px is not None
    return replace(said, location_px=said.location_px + np.array([30, 40]))


def test_a_shift_on_the_road_view_counts_in_pixels_of_a_view_1920_wide() -> None:
    quantity = evaluate([Truth(shifted)], SET).summary.of("truth").quantities["location"]
    assert quantity.total.mean == pytest.approx(50 * 1920 / 1280)
    assert quantity.total.rows == sum(np.isfinite(s.arrays["location_px"][:, 0]).sum() for s in SESSIONS)


def errors_of(evaluation: Evaluation) -> dict[str, object]:
    return json.loads(evaluation.summary.model_dump_json(exclude={"fingerprint", "sessions"}))


def assert_alike(one: object, other: object) -> None:
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_alike(one[name], other[name])
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_alike(first, second)
    else:
        assert one == (pytest.approx(other, rel=1e-6, abs=1e-6) if isinstance(other, float) else other)


def test_the_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    shuffled = [reordered(samples, rng.permutation(len(samples))) for samples in SESSIONS]
    predictors = [HeadOnly(), Truth(lambda said: turned(said, 3))]
    one, other = (evaluate(predictors, sample_set(sessions), ["truth"]) for sessions in (SESSIONS, shuffled))
    assert_alike(errors_of(one), errors_of(other))


def test_the_order_of_sessions_changes_no_error() -> None:
    one, other = (evaluate([HeadOnly()], sample_set(sessions)) for sessions in (SESSIONS, SESSIONS[::-1]))
    for quantity, found in one.summary.of("head only").quantities.items():
        again = other.summary.of("head only").quantities[quantity]
        assert found.total.mean == pytest.approx(again.total.mean)
        assert found.total.rows == again.total.rows


@pytest.mark.parametrize("quantity", ["ray", "face", "location"])
def test_subsets_add_up_to_the_whole(quantity: str) -> None:
    found = evaluate([HeadOnly()], SET).summary.of("head only").quantities[quantity]  # type: ignore[index]
    assert {"light", "time of day", "glasses", "camera", "driver", "distance"} <= found.subsets.keys()
    for names in found.subsets.values():
        assert sum(part.rows for part in names.values()) == found.total.rows
        weighted = sum(part.rows * (part.mean or 0.0) for part in names.values()) / found.total.rows
        assert weighted == pytest.approx(found.total.mean)


@pytest.mark.parametrize(("turn_deg", "name"), [(0, "0 to 15 deg"), (-38, "30 to 45 deg"), (70, "more than 65 deg")])
def test_the_turn_of_the_head_is_against_the_line_to_the_camera(turn_deg: float, name: str) -> None:
    def head_deg(eye_mid_mm: Floats) -> tuple[float, float, float]:
        z = -unit(eye_mid_mm)
        x = unit(np.cross([0.0, 1.0, 0.0], z))
        return facing_angles_deg(np.stack([x, np.cross(z, x), z], axis=1) @ rotation_y(turn_deg))

    angles = np.array([head_deg(eye_mid_mm) for eye_mid_mm in SESSIONS[0].arrays["eye_mid_mm"]])
    evaluation = evaluate([Truth()], sample_set([changed(SESSIONS[0], head_deg=angles)]))
    assert np.allclose(evaluation.rows.head_turn_deg, turn_deg)
    parts = evaluation.summary.of("truth").quantities["ray"].subsets["head against camera"]
    assert {part: statistics.rows for part, statistics in parts.items()} == {name: evaluation.summary.rows}


def test_small_subsets_are_marked() -> None:
    subsets = evaluate([Truth()], SET).summary.of("truth").quantities["ray"].subsets
    assert all(part.few for part in subsets["driver"].values())
    assert not subsets["glasses"]["none"].few
    assert subsets["light"]["night"].few  # one session


def test_missing_estimates_and_missed_faces_are_counted() -> None:
    silent = Truth(lambda said: replace(said, ray=with_holes(said.ray, 4), location_px=None))
    sessions = [replace(samples, considered=len(samples) + 3, missed=3) for samples in SESSIONS]
    summary = evaluate([silent], sample_set(sessions)).summary
    ray = summary.of("truth").quantities["ray"]
    assert ray.missing == summary.rows - ray.total.rows == summary.rows / 4
    assert "location" not in summary.of("truth").quantities
    assert summary.of("truth").quantities["face"].missing == 0
    assert (summary.considered, summary.missed) == (summary.rows + 18, 18)
    zones = summary.of("truth").zones
    assert zones is not None
    assert zones.rows == ray.total.rows


def test_rows_that_cannot_be_used_do_not_count() -> None:
    usable = np.arange(20) % 2 == 0
    wrong = np.array(SESSIONS[0].arrays["ray"])
    wrong[~usable] *= -1
    evaluation = evaluate([HeadOnly()], sample_set([changed(SESSIONS[0], usable=usable, ray=wrong), *SESSIONS[1:]]))
    kept = [reordered(SESSIONS[0], np.flatnonzero(usable)), *SESSIONS[1:]]
    expected = evaluate([HeadOnly()], sample_set(kept)).summary.of("head only").quantities["ray"].total
    assert evaluation.summary.of("head only").quantities["ray"].total.mean == pytest.approx(expected.mean)


def test_ratios_are_against_the_references_and_paired() -> None:
    double = Truth(lambda said: turned(said, 10), "double")
    single = Truth(lambda said: turned(said, 5), "single")
    summary = evaluate([double, single, HeadOnly()], SET, ["single"]).summary
    ratio = summary.of("double").quantities["ray"].ratios["single"]
    assert ratio.value == pytest.approx(2)
    assert ratio.interval == pytest.approx((2, 2))
    assert not summary.of("single").quantities["ray"].ratios


def test_sessions_without_road_view_or_car_are_evaluated_for_the_rest() -> None:
    bare = [
        changed(
            replace(samples, road_camera=None, hand_of_drive=None, light=None, driver_id=None),
            location_px=np.full((20, 2), np.nan),
            zone=np.full(20, ""),
            head_deg=np.full((20, 3), np.nan),
        )
        for samples in SESSIONS[:2]
    ]
    summary = evaluate([HeadOnly()], sample_set(bare)).summary
    result = summary.of("head only")
    assert result.quantities.keys() == {"ray", "face"}
    assert result.zones is summary.zone_ceiling is summary.location_ceiling is None
    assert result.quantities["ray"].subsets["light"]["unknown"].rows == summary.rows
    assert not result.quantities["ray"].subsets["head against camera"]


@pytest.mark.parametrize("sessions", [[], [reordered(samples, np.zeros(0, int)) for samples in SESSIONS]])
def test_an_evaluation_of_no_rows_says_nothing(sessions: list[SessionSamples], tmp_path: Path) -> None:
    evaluation = evaluate([HeadOnly(), Truth()], sample_set(sessions), ["truth"])
    assert evaluation.summary.rows == 0
    assert not evaluation.summary.of("truth").quantities
    write_report(evaluation, sessions, tmp_path / "report", faces=True)
    assert not list((tmp_path / "report").glob("*.png"))


def test_two_predictors_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        evaluate([Truth(), Truth()], SET)


# --- networks ---


def network(**changes: object) -> DashGazeNet:
    torch.manual_seed(0)
    settings = {"width": 0.125, "features": 8, "driver_px": (32, 32), "face_px": (32, 32), **changes}
    return DashGazeNet(ModelConfig.model_validate(settings))


def test_a_networks_ray_is_that_of_its_own_view() -> None:
    model = network()
    said = NetworkPredictor("network", model, error_factor=2.0).predict(SESSIONS[0])
    inputs = {name: torch.from_numpy(np.array(values)) for name, values in SESSIONS[0].arrays.items() if name in INPUTS}
    with torch.inference_mode():
        outputs = model.eval()(inputs)
    assert said.ray is not None
    in_view = [view_angles(view, ray) for view, ray in zip(SESSIONS[0].arrays["view"], said.ray, strict=True)]
    assert np.allclose(in_view, outputs.ray_deg.numpy(), atol=1e-4)
    assert np.allclose(said.ray_error_deg, 2 * outputs.ray_error_deg.numpy(), atol=1e-5)
    assert np.allclose(said.face_deg, outputs.face_deg.numpy(), atol=1e-5)


INPUTS = ("driver", "face", "right_eye", "left_eye", "five", "mesh", "pose")


def test_a_network_without_a_head_for_it_gets_ray_and_angles_by_geometry() -> None:
    rotation = SESSIONS[0].arrays["head_rotation"]
    for changes in ({"ray": False, "location": "none"}, {"face_angles": False}):
        said = NetworkPredictor("network", network(**changes)).predict(SESSIONS[0])
        assert said.ray is not None
        assert said.face_deg is not None
        assert np.allclose(face_angles(said.ray, rotation), said.face_deg, atol=1e-4)
        assert np.allclose(np.linalg.norm(said.ray, axis=1), 1)


def test_locations_are_direct_or_the_rigid_pair_and_what_it_leaves_over() -> None:
    camera = SESSIONS[0].road_camera
    assert camera is not None
    direct = NetworkPredictor("direct", network(location="direct")).predict(SESSIONS[0]).location_px
    assert direct is not None
    assert (np.abs(direct - 0.5 * np.array(camera.size_px)) < camera.size_px).all()
    rigid = NetworkPredictor("none", network(location="none")).predict(SESSIONS[0])
    assert rigid.ray is not None
    assert np.array_equal(rigid.location_px, rigid_location_px(SESSIONS[0], rigid.ray), equal_nan=True)
    model = network(location="residual")
    last = model.heads["location"][-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    far = NetworkPredictor("residual", model).predict(SESSIONS[0])
    assert far.ray is not None
    assert far.location_px is not None
    # Without a residual what is left is parallax: the head's distance over 30 m.
    apart = np.linalg.norm(far.location_px - rigid_location_px(SESSIONS[0], far.ray), axis=1)
    assert np.nanmax(apart) < 0.05 * camera.matrix[0, 0]
    assert NetworkPredictor("blind", model).predict(replace(SESSIONS[0], road_camera=None)).location_px is None


def test_a_network_of_locations_alone_is_evaluated_by_them() -> None:
    model = network(ray=False, face_angles=False, location="direct", landmarks="five", head_pose=False)
    evaluation = evaluate([NetworkPredictor("idgaze", model)], SET)
    assert evaluation.summary.of("idgaze").quantities.keys() == {"location"}


# --- the report ---


def test_the_report_is_complete_and_holds_its_pictures(tmp_path: Path) -> None:
    out = tmp_path / "report"
    predictors = [Truth(lambda said: turned(said, 8), "net <1>"), Constant(mean_gaze(SESSIONS)), HeadOnly()]
    evaluation = evaluate(predictors, SET, ["constant"])
    write_report(evaluation, SESSIONS, out, faces=True)
    assert read_record(out / "evaluation.json", Summary) == evaluation.summary
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert "net &lt;1&gt;" in page
    assert "net <1>" not in page
    assert set(re.findall(r'(?:src|href)="([^"]{0,9})', page)) == {"data:imag"}
    pictures = {path.name for path in out.glob("*.png")}
    assert pictures == set(re.findall(r"\]\((.*?)\)", text))
    assert {"faces-random.png", "faces-worst.png", "subsets.png", "zones.png", "uncertainty.png"} <= pictures
    assert "8.00 [8.00, 8.00]" in text


def test_a_new_report_replaces_an_old_one_and_nothing_else(tmp_path: Path) -> None:
    evaluation = evaluate([Truth()], SET)
    out = tmp_path / "report"
    out.mkdir()
    for name in ("evaluation.json", "faces-worst.png"):
        (out / name).write_text("of an older report")
    write_report(evaluation, SESSIONS, out, faces=False)
    assert not list(out.glob("faces-*"))
    assert read_record(out / "evaluation.json", Summary).rows == evaluation.summary.rows
    assert list(tmp_path.iterdir()) == [out]
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="not a report"):
        write_report(evaluation, SESSIONS, other, faces=False)
    assert (other / "letter.txt").read_text() == "mine"


def test_only_rendered_people_are_shown_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashgaze.training.gaze import report

    evaluation = evaluate([Truth()], SET)
    monkeypatch.setattr(report, "_is_rendered", lambda samples: samples.session_id == "session-1")
    seen: list[int] = []
    monkeypatch.setattr(
        report, "draw_faces", lambda evaluation, sessions, chosen, title: seen.extend(evaluation.rows.session[chosen])
    )
    assert report._contact_sheets(evaluation, SESSIONS, None).keys() == {"faces-random.png", "faces-worst.png"}
    assert set(seen) == {1}
    assert report._contact_sheets(evaluation, SESSIONS, False) == {}


def test_a_report_of_a_network_that_only_knows_locations_has_what_there_is(tmp_path: Path) -> None:
    places = Truth(lambda said: Predictions(location_px=said.location_px))
    write_report(evaluate([places], SET), SESSIONS, tmp_path / "report", faces=True)
    assert {path.name for path in (tmp_path / "report").glob("*.png")} >= {"subsets.png", "locations.png"}


def copied(original: Session, path: Path) -> Path:
    """The same drive as if it were another person's."""
    shutil.copytree(original.path, path, ignore=shutil.ignore_patterns("masks", "road.mp4"))
    header = original.header.model_copy(update={"session_id": path.name, "driver_id": f"person-{path.name}"})
    write_record(path / "session.json", header)
    return path


@pytest.mark.slow
def test_a_run_is_evaluated_on_strangers_only(
    rendered: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known, watched, stranger = (copied(rendered, tmp_path / name) for name in ("known", "watched", "stranger"))
    config = GazeConfig.model_validate(
        {
            "data": {"train": [str(known)], "validation": [str(watched)]},
            "model": {"width": 0.125, "features": 8, "driver_px": (64, 64), "face_px": (64, 64)},
            "training": {"epochs": 1, "batch": 2},
        }
    )
    run = tmp_path / "run"
    train(config, run)
    for seen in (known, watched):
        with pytest.raises(InputError, match=seen.name):
            evaluate_run(run, [seen, stranger])
    friend = copied(rendered, tmp_path / "friend")
    write_record(friend / "session.json", rendered.header.model_copy(update={"driver_id": "person-known"}))
    with pytest.raises(InputError, match="person-known"):
        evaluate_run(run, [friend])
    assert not (run / "evaluation").exists()
    evaluation = evaluate_run(run, [stranger])
    assert evaluation.summary.run == fingerprint(run)
    assert [result.name for result in evaluation.summary.predictors] == ["edge", "constant", "head only", "geometric"]
    assert read_record(run / "evaluation" / "evaluation.json", Summary) == evaluation.summary
    assert (run / "evaluation" / "faces-random.png").is_file()  # a rendered person may be shown
    assert "report.html" in capsys.readouterr().out
    record = read_run(run)[1]
    nameless = record.train.model_copy(update={"drivers": (None,)})
    write_record(run / "run.json", record.model_copy(update={"train": nameless}))
    write_record(stranger / "session.json", rendered.header.model_copy(update={"driver_id": None}))
    with pytest.raises(InputError, match="may show one driver"):
        evaluate_run(run, [stranger])
