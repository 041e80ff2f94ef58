"""Samples: exactly what the device would see, beside the truth; made once, and never half made."""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dashgaze.bundle import Bundle
from dashgaze.device.crops import CropPlan, GazeInputs, ray_from_view, take_inputs
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.sources import open_source
from dashgaze.errors import InputError
from dashgaze.geometry import Camera, angle_between_deg, rays_from_angles
from dashgaze.session import Session, write_session
from dashgaze.tables import Status, Table
from dashgaze.training.gaze.batches import batches, count_batches, evaluation_batches
from dashgaze.training.gaze.model import INPUTS, rigid_road_deg
from dashgaze.training.gaze.samples import CACHE, SampleSet, SessionSamples, prepare, sample_type
from dashgaze.training.video import write_video

PLAN = CropPlan()
Change = Callable[[Table, Table], None]


def pictures_of(session: Session) -> list[NDArray[np.uint8]]:
    with open_source(str(session.path / "driver.mp4")) as source:
        return [frame.image for frame in source if frame is not None]


def tiled(values: NDArray[Any], times: int) -> NDArray[Any]:
    tile = np.tile(np.ma.getdata(values), times)
    if not np.ma.isMaskedArray(values):
        return tile
    return np.ma.masked_array(tile, mask=np.tile(np.ma.getmaskarray(values), times))


def remake(
    path: Path,
    session: Session,
    change: Change = lambda frames, labels: None,
    header: dict[str, Any] | None = None,
    times: int = 1,
    rate_hz: float = 1.0,
    labelled: bool = True,
    mirrored: bool = False,
) -> Path:
    """A changed copy of a session: its pictures over and over, at another rate, other truth, another header."""
    tables = []
    for name in ("frames", "labels"):
        table = {key: tiled(values, times) for key, values in session.table(name).items()}
        table["t_s"] = np.arange(len(table["t_s"])) / rate_hz
        table["driver_frame"] = np.ma.array(np.arange(len(table["t_s"])))
        tables.append(table)
    change(*tables)
    known = json.loads(session.header.model_dump_json())
    known["cameras"]["driver"]["mirrored"] = mirrored
    for key, value in (header or {}).items():
        *inner, last = key.split(".")
        place = known
        for part in inner:
            place = place[part]
        place[last] = value
    with write_session(path) as writer:
        writer.describe(type(session.header).model_validate_json(json.dumps(known)))
        writer.append("frames", tables[0])
        if labelled:
            writer.append("labels", tables[1])
        assert session.header.cameras.driver is not None
        with write_video(writer.folder / "driver.mp4", session.header.cameras.driver.size_px, 1 / rate_hz, 18) as video:
            for number, picture in enumerate(pictures_of(session) * times):
                turned = np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture
                video.write(turned, number / rate_hz)
    return path


@pytest.fixture(scope="module")
def drives(rendered: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with one session of three frames."""
    folder = tmp_path_factory.mktemp("drives")
    shutil.copytree(rendered.path, folder / "00000")
    return folder


@pytest.fixture(scope="module")
def prepared(drives: Path) -> SampleSet:
    return prepare([drives], PLAN)


def test_samples_are_bit_for_bit_what_the_device_sees(prepared: SampleSet, drives: Path, bundle: Bundle) -> None:
    samples = prepared.sessions[0]
    camera, plan = samples.driver_camera, prepared.plan
    tracker = FaceTracker(bundle, FaceSettings(), samples.hand_of_drive or "left")
    estimator = HeadPoseEstimator(CanonicalFace.from_bundle(bundle), camera)
    seen = []
    with open_source(str(drives / "00000" / "driver.mp4")) as source:
        for frame in source:
            assert frame is not None
            face = tracker.find(frame)
            if face.landmarks_px is None or (head := estimator.fit(face.landmarks_px)) is None:
                continue
            inputs = take_inputs(frame.image, camera, face.landmarks_px, head, plan)
            if inputs is not None:
                seen.append((frame, face, head, inputs))
    assert len(samples) == len(seen) > 0
    for row, (frame, face, head, inputs) in enumerate(seen):
        sample = {name: values[row] for name, values in samples.arrays.items()}
        assert (sample["frame"], sample["t_s"]) == (frame.index, pytest.approx(frame.t_s))
        for field in fields(GazeInputs):
            np.testing.assert_array_equal(sample[field.name], getattr(inputs, field.name))
        np.testing.assert_array_equal(sample["landmarks_px"], face.landmarks_px)
        np.testing.assert_array_equal(sample["blendshapes"], face.blendshapes)
        np.testing.assert_array_equal(sample["head_rotation"], head.rotation)
        np.testing.assert_array_equal(sample["head_mm"], head.position_mm)


def test_truth_is_that_of_the_tables(prepared: SampleSet, rendered: Session) -> None:
    samples, frames = prepared.sessions[0], rendered.table("frames")
    arrays = samples.arrays
    rows = arrays["frame"]
    for name, columns in {
        "ray": ("ray_x", "ray_y", "ray_z"),
        "face_deg": ("azimuth_deg", "elevation_deg"),
        "head_deg": ("head_yaw_deg", "head_pitch_deg", "head_roll_deg"),
        "car_deg": ("car_azimuth_deg", "car_elevation_deg"),
    }.items():
        np.testing.assert_allclose(arrays[name], np.stack([frames[c][rows] for c in columns], axis=1), atol=1e-6)
    for row, (view, angles) in enumerate(zip(arrays["view"], arrays["ray_deg"], strict=True)):
        assert angle_between_deg(ray_from_view(view, *angles), arrays["ray"][row]) < 1e-6
    assert list(arrays["zone"]) == list(frames["zone"][rows])
    assert (samples.light, samples.considered) == ("day", samples.missed + int(arrays["usable"].sum()))


def test_the_direction_on_the_road_is_that_of_the_location_and_the_rigid_pair_comes_near(
    tmp_path: Path, rendered: Session
) -> None:
    road = rendered.header.cameras.road
    assert road is not None
    assert road.K is not None
    camera = Camera.from_parameters(road.size_px, road.K, road.distortion or ())

    def far_away(frames: Table, labels: Table) -> None:
        """The truth as a rigid pair without parallax would have it; one location is not ok."""
        rays = np.stack([frames[f"ray_{axis}"] for axis in "xyz"], axis=1) * [-1, 1, -1]
        frames["road_x_px"], frames["road_y_px"] = camera.project(rays).T
        frames["location_status"][:] = Status.OK
        frames["location_status"][0] = Status.LOW_QUALITY

    found = prepare([remake(tmp_path / "00000", rendered, far_away)], PLAN)
    arrays = found.sessions[0].arrays
    assert np.isnan(arrays["location_px"][arrays["frame"] == 0]).all()
    ok = np.isfinite(arrays["location_px"]).all(axis=1)
    assert ok.any()
    directions = rays_from_angles(*arrays["road_deg"][ok].T)
    np.testing.assert_allclose(camera.project(directions), arrays["location_px"][ok], atol=1e-6)
    _, truth, rows = next(batches(found, 8, seed=0, epoch=0))
    there = torch.isfinite(truth.road_deg).all(dim=1)
    np.testing.assert_allclose(
        rigid_road_deg(truth.ray_deg, truth.road_from_view)[there], truth.road_deg[there], atol=1e-3
    )
    width, height = road.size_px
    taken = found.take(rows, ("location_px",))["location_px"]
    np.testing.assert_allclose(truth.location, (taken + 0.5) / [width, height], rtol=1e-5)


def test_a_fast_video_gives_samples_at_the_rate_that_was_asked_for(tmp_path: Path, rendered: Session) -> None:
    path = remake(tmp_path / "00000", rendered, times=6, rate_hz=30)
    samples = prepare([path], PLAN, rate_hz=5).sessions[0]
    assert list(samples.arrays["frame"]) == [0, 6, 12]
    np.testing.assert_allclose(samples.arrays["t_s"], [0, 0.2, 0.4])
    every = prepare([path], PLAN, rate_hz=30).sessions[0]
    assert set(samples.arrays["frame"]) < set(every.arrays["frame"])
    # The same frames, since the device's tracker saw all frames in between in both.
    same = np.isin(every.arrays["frame"], samples.arrays["frame"])
    np.testing.assert_array_equal(every.arrays["landmarks_px"][same], samples.arrays["landmarks_px"])


def test_a_mirrored_video_is_turned_back(tmp_path: Path, rendered: Session, prepared: SampleSet) -> None:
    driver = rendered.header.cameras.driver
    assert driver is not None
    assert driver.K is not None
    stored = Camera.from_parameters(driver.size_px, driver.K, driver.distortion or ()).mirrored()
    header = {"cameras.driver.K": stored.matrix.tolist(), "cameras.driver.distortion": stored.distortion.tolist()}
    mirrored = prepare([remake(tmp_path / "00000", rendered, header=header, mirrored=True)], PLAN).sessions[0]
    upright = prepared.sessions[0]
    np.testing.assert_allclose(mirrored.driver_camera.matrix, upright.driver_camera.matrix)
    both, here, there = np.intersect1d(mirrored.arrays["frame"], upright.arrays["frame"], return_indices=True)
    assert len(both) > 0
    # Encoded anew: not the same to the bit.
    apart_px = np.abs(mirrored.arrays["landmarks_px"][here] - upright.arrays["landmarks_px"][there])[..., :2]
    assert np.median(apart_px) < 2
    np.testing.assert_array_equal(mirrored.arrays["ray"][here], upright.arrays["ray"][there])


def test_only_open_visible_eyes_with_a_known_gaze_are_used(tmp_path: Path, rendered: Session) -> None:
    def spoil(frames: Table, labels: Table) -> None:
        for axis in "xyz":
            frames[f"ray_{axis}"][0] = np.nan
        frames["eyes_closed"][:] = False
        frames["eyes_closed"][1] = True
        frames["angle_status"][:] = Status.OK
        frames["angle_status"][2] = Status.LOW_QUALITY
        for side in ("left", "right"):
            labels[f"{side}_eye_visible_frac"][:] = [1, 1, 1, 0.2, np.nan, 0.2]
        labels["left_eye_visible_frac"][5] = 0.4

    path = remake(tmp_path / "00000", rendered, spoil, times=2)
    arrays = prepare([path], PLAN).sessions[0].arrays
    usable = set(arrays["frame"][arrays["usable"]])
    assert usable == {4, 5} & set(arrays["frame"])


def test_a_real_session_has_no_labels(tmp_path: Path, rendered: Session) -> None:
    header = {"time_of_day": "dawn", "cameras.road": None}
    path = remake(tmp_path / "00000", rendered, header=header, labelled=False)
    samples = prepare([path], PLAN)
    arrays = samples.sessions[0].arrays
    assert np.isnan(arrays["visible"]).all()
    assert np.isfinite(arrays["openness"]).all()
    assert samples.sessions[0].light == "dusk"
    assert len(samples) > 0
    _, truth, _ = next(batches(samples, 8, seed=0, epoch=0))
    assert bool(truth.road_deg.isnan().all())
    assert bool(truth.location.isnan().all())


# --- errors ---


def unknown_gaze(frames: Table, labels: Table) -> None:
    for axis in "xyz":
        frames[f"ray_{axis}"][:] = np.nan


def not_unit(frames: Table, labels: Table) -> None:
    frames["ray_x"][1] = 1.0
    frames["ray_z"][1] = -1.0


def shifted(frames: Table, labels: Table) -> None:
    labels["driver_frame"] = labels["driver_frame"] + 1


def too_far(frames: Table, labels: Table) -> None:
    for table in (frames, labels):
        table["driver_frame"] = table["driver_frame"] + 5


@pytest.mark.parametrize(
    ("change", "header", "problem"),
    [
        (unknown_gaze, {}, r"frames\.parquet, column ray_x: no frame of the driver video has a known gaze"),
        (not_unit, {}, r"frames\.parquet, column ray_x, row 1: the ray is not a unit vector"),
        (shifted, {}, r"labels\.parquet, column driver_frame: is not that of frames\.parquet"),
        (too_far, {}, r"driver\.mp4: ends with picture 2, frames\.parquet goes to 7"),
        (
            None,
            {"cameras.driver.K": None},
            r"cameras\.driver\.K: is null: the geometry of the driver camera is unknown",
        ),
        (None, {"cameras.driver": None}, r"cameras\.driver\.K: is null"),
        (None, {"cameras.driver.size_px": [640, 360]}, r"driver\.mp4: is 1280 x 720, session\.json says 640 x 360"),
        (None, {"cameras.road.mirrored": True}, r"cameras\.road\.mirrored: a mirrored road view"),
    ],
)
def test_a_session_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, rendered: Session, change: Change | None, header: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "set" / "00000"
    path.parent.mkdir()
    remake(path, rendered, change or (lambda frames, labels: None), header)
    with pytest.raises(InputError, match=problem):
        prepare([path.parent], PLAN)
    assert not list(path.parent.glob(f"{CACHE}/*/*"))


def test_files_that_are_missing_are_named(tmp_path: Path, drives: Path) -> None:
    with pytest.raises(InputError, match="holds no sessions"):
        prepare([tmp_path], PLAN)
    with pytest.raises(InputError, match="nowhere: cannot be listed"):
        prepare([tmp_path / "nowhere"], PLAN)
    for missing, problem in {
        "driver.mp4": "the session has no driver video",
        "frames.parquet": "is not part of this session",
    }.items():
        shutil.copytree(drives / "00000", tmp_path / missing / "00000")
        (tmp_path / missing / "00000" / missing).unlink()
        with pytest.raises(InputError, match=problem):
            prepare([tmp_path / missing], PLAN)


def test_another_version_of_the_schema_is_refused(tmp_path: Path, drives: Path) -> None:
    shutil.copytree(drives / "00000", tmp_path / "00000")
    file = tmp_path / "00000" / "session.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(InputError, match="schema_version: is not 1"):
        prepare([tmp_path], PLAN)


def test_a_torn_table_is_refused(tmp_path: Path, drives: Path) -> None:
    shutil.copytree(drives / "00000", tmp_path / "00000")
    os.truncate(tmp_path / "00000" / "labels.parquet", 5000)
    with pytest.raises(InputError, match=r"labels\.parquet"):
        prepare([tmp_path], PLAN)


# --- cache ---


def cached(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.glob(f"{CACHE}/*/*/*")}


def test_samples_are_made_once_and_nothing_is_written_into_sessions(prepared: SampleSet, drives: Path) -> None:
    before, inside = cached(drives), sorted(drives.glob("00000/**/*"))
    again = prepare([drives], PLAN)
    assert again.fingerprint == prepared.fingerprint
    assert cached(drives) == before
    assert sorted(drives.glob("00000/**/*")) == inside
    assert prepare([drives / "00000"], PLAN).fingerprint == prepared.fingerprint
    assert cached(drives) == before


def test_other_pictures_other_rates_and_other_truth_make_other_samples(
    prepared: SampleSet, drives: Path, rendered: Session, tmp_path: Path
) -> None:
    colour = prepare([drives], CropPlan(face_px=(64, 48), channels=3))
    assert colour.sessions[0].arrays["face"].shape[1:] == (3, 48, 64)
    slow = prepare([drives], PLAN, rate_hz=0.5)
    assert len(slow) < len(prepared)

    def turned(frames: Table, labels: Table) -> None:
        frames["car_azimuth_deg"][:] += 1

    other = prepare([remake(tmp_path / "00000", rendered, turned)], PLAN)
    assert len({one.fingerprint for one in (prepared, colour, slow, other)}) == 4
    assert prepare([drives], PLAN).fingerprint == prepared.fingerprint


def test_what_a_killed_run_left_behind_is_made_anew(prepared: SampleSet, drives: Path, tmp_path: Path) -> None:
    shutil.copytree(drives / "00000", tmp_path / "00000")
    recipe = next((drives / CACHE).iterdir()).name
    torn = tmp_path / CACHE / recipe / ".00000.abcdef" / "samples"
    torn.mkdir(parents=True)
    (torn / "seen.bin").write_bytes(b"half of it")
    assert len(prepare([tmp_path], PLAN)) == len(prepared)


def test_two_runs_at_once_do_not_disturb_each_other(prepared: SampleSet, drives: Path, tmp_path: Path) -> None:
    shutil.copytree(drives / "00000", tmp_path / "00000")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: prepare([tmp_path], PLAN), range(2))
    for name, values in prepared.sessions[0].arrays.items():
        np.testing.assert_array_equal(first.sessions[0].arrays[name], values)
        np.testing.assert_array_equal(second.sessions[0].arrays[name], values)
    assert not list(tmp_path.glob(f"{CACHE}/*/.*"))


def test_a_damaged_cache_is_refused(drives: Path, tmp_path: Path) -> None:
    shutil.copytree(drives / "00000", tmp_path / "00000")
    prepare([tmp_path], PLAN)
    (file,) = tmp_path.glob(f"{CACHE}/*/*/seen.bin")
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(InputError, match=r"seen\.bin: is damaged; remove"):
        prepare([tmp_path], PLAN)


def test_a_set_that_cannot_be_written_says_so(drives: Path, tmp_path: Path) -> None:
    shutil.copytree(drives / "00000", tmp_path / "00000")
    (tmp_path / CACHE).write_text("in the way")
    with pytest.raises(Exception, match="cannot be written"):
        prepare([tmp_path], PLAN)


@pytest.mark.slow
def test_several_processes_make_the_same_samples(prepared: SampleSet, drives: Path, tmp_path: Path) -> None:
    for name in ("00000", "00001"):
        shutil.copytree(drives / "00000", tmp_path / name)
    both = prepare([tmp_path], PLAN, workers=2)
    for session in both.sessions:
        for name, values in prepared.sessions[0].arrays.items():
            np.testing.assert_array_equal(session.arrays[name], values)


# --- batches ---


def toy_set(*rows: int) -> SampleSet:
    """Sessions with so many rows each, of which every fifth cannot be used; `t_s` numbers all of them."""
    plan = CropPlan((8, 8), (8, 8), (10, 6))
    sessions, first = [], 0
    for number, count in enumerate(rows):
        records = np.zeros(count, sample_type(plan))
        records["t_s"] = first + np.arange(count)
        records["five"][:, 0, 0] = records["t_s"]
        records["usable"] = np.arange(count) % 5 != 4
        records["view"] = np.eye(3)
        first += count
        camera = Camera.from_fov((1280, 720), 65)
        arrays = {name: records[name] for name in records.dtype.names or ()}
        considered = int(records["usable"].sum())
        sessions.append(
            SessionSamples(f"s{number}", "d", "toy", "day", None, None, None, camera, camera, considered, 0, arrays)
        )
    return SampleSet(tuple(sessions), plan, "toy")


@pytest.fixture
def toy() -> SampleSet:
    return toy_set(10, 0, 23, 4)


def test_rows_are_the_usable_ones_and_are_taken_in_their_order(toy: SampleSet) -> None:
    rows = toy.rows()
    assert len(rows) == len(toy) == 8 + 19 + 4
    mixed = np.random.default_rng(0).permutation(rows)
    taken = toy.take(mixed, ("t_s", "zone", "face"))
    expected = [toy.sessions[session].arrays["t_s"][row] for session, row in mixed]
    np.testing.assert_array_equal(taken["t_s"], expected)
    assert taken["face"].shape == (len(toy), 1, 8, 8)


def test_an_epoch_has_every_usable_sample_once(toy: SampleSet) -> None:
    found = list(batches(toy, 8, seed=1, epoch=0))
    assert len(found) == count_batches(toy, 8) == 4
    assert all(7 <= len(rows) <= 8 for _, _, rows in found)
    seen = np.concatenate([inputs["five"][:, 0, 0].numpy() for inputs, _, _ in found])
    np.testing.assert_array_equal(np.sort(seen), toy.take(toy.rows(), ("t_s",))["t_s"])
    for inputs, truth, rows in found:
        assert set(inputs) == set(INPUTS)
        np.testing.assert_array_equal(truth.session, rows[:, 0])
        np.testing.assert_array_equal(inputs["five"][:, 0, 0], toy.take(rows, ("t_s",))["t_s"])


def test_batches_are_resumed_where_they_stopped(toy: SampleSet) -> None:
    whole = [rows for _, _, rows in batches(toy, 8, seed=1, epoch=3)]
    rest = [rows for _, _, rows in batches(toy, 8, seed=1, epoch=3, start=2)]
    assert all(np.array_equal(one, other) for one, other in zip(whole[2:], rest, strict=True))
    for seed, epoch in ((2, 3), (1, 4)):
        other = [rows for _, _, rows in batches(toy, 8, seed, epoch)]
        assert not np.array_equal(np.concatenate(whole), np.concatenate(other))


def test_no_samples_give_no_batches() -> None:
    assert not list(batches(toy_set(0), 8, seed=0, epoch=0))


def test_evaluation_sees_every_row_in_order(toy: SampleSet) -> None:
    found = list(evaluation_batches(toy.sessions[2], 8, ("five", "pose")))
    assert [len(part["five"]) for part in found] == [8, 8, 7]
    np.testing.assert_array_equal(torch.cat([part["five"] for part in found])[:, 0, 0], np.arange(10, 33))
