"""Realism and cabin benchmarks: what their measures must do with what is known beforehand."""

import hashlib
import io
import os
import pickle
import struct
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import realism, synth, synth_labels
from benchmarks.realism import Estimate, Faces, KernelDistance, Package
from dashgaze import session as contract
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import Camera, angles_from_rays, facing_rotation, rotation_y, unit

SEEDS = st.integers(0, 2**32 - 1)


def features(rng, n, shift=0.0, d=24):
    return rng.normal(size=(n, d)) + shift


def faces(rng, people, each=1, shift=0.0):
    n = people * each
    who = np.repeat(np.arange(people), each)
    described = features(rng, n, shift).astype(np.float32)
    return Faces(described, described[:, :8], who, rng.uniform(0, 30, n), n, n, {})


def test_distance_between_samples_of_one_distribution_is_zero_on_the_mean_and_may_be_negative():
    rng = np.random.default_rng(0)
    values = np.array([KernelDistance(features(rng, 40), features(rng, 60)).value() for _ in range(200)])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert (values < 0).any()


def test_distance_grows_with_the_shift_between_distributions():
    rng = np.random.default_rng(1)
    x, y = features(rng, 80), features(rng, 80)
    values = [KernelDistance(x, y + shift).value() for shift in (0.0, 0.3, 0.6, 1.2)]
    assert values == sorted(values)
    assert values[-1] > 10 * abs(values[0])


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_distance_does_not_depend_on_the_order_of_pictures_or_on_the_sides(seed):
    rng = np.random.default_rng(seed)
    x, y, people = features(rng, 12), features(rng, 15, 0.5), rng.integers(0, 5, 15)
    if len(np.unique(people)) < 2:
        return
    order = rng.permutation(15)
    value = KernelDistance(x, y, None, people).value()
    assert KernelDistance(x, y[order], None, people[order]).value() == pytest.approx(value)
    assert KernelDistance(y, x, people, None).value() == pytest.approx(value)


def test_more_pictures_of_the_same_people_do_not_look_like_a_narrower_distribution():
    rng = np.random.default_rng(2)
    values = []
    for _ in range(200):
        x, y = features(rng, 30), np.repeat(features(rng, 10), 5, axis=0)
        values.append(KernelDistance(x, y, None, np.repeat(np.arange(10), 5)).value())
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def test_a_whole_weight_counts_a_picture_that_often():
    rng = np.random.default_rng(3)
    x, y = features(rng, 9), features(rng, 7, 0.4)
    times = np.array([1, 2, 0, 3, 1, 1, 2])
    repeated = KernelDistance(x, np.repeat(y, times, axis=0), None, np.repeat(np.arange(7), times)).value()
    assert KernelDistance(x, y).value(None, times.astype(float)) == pytest.approx(repeated)


def test_a_set_of_one_person_has_no_distance_and_says_so():
    rng = np.random.default_rng(4)
    with pytest.raises(InputError, match="1 people"):
        KernelDistance(features(rng, 5), features(rng, 5), None, np.zeros(5))
    with pytest.raises(InputError, match="0 people"):
        KernelDistance(features(rng, 5), np.zeros((0, 24)))


def test_weights_give_the_renders_the_yaw_of_the_real_faces():
    rng = np.random.default_rng(5)
    yaw, like = rng.uniform(0, 30, 500), np.abs(rng.normal(0, 8, 300)).clip(0, 30)
    weights = realism.yaw_weights(yaw, like)
    for low, high in zip(realism.YAW_BINS_DEG, realism.YAW_BINS_DEG[1:], strict=False):
        mine = weights[(yaw >= low) & (yaw < high)].sum() / weights.sum()
        assert mine == pytest.approx(((like >= low) & (like < high)).mean(), abs=0.01)


def test_the_interval_of_the_ratio_covers_it_as_often_as_it_says():
    covered = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = realism.compare_realism(faces(rng, 40), faces(rng, 30, 2, 0.3), faces(rng, 30, 2, 0.5), 60, seed)
        assert found.ratio.value == pytest.approx(found.ours.value / found.prototype.value)
        covered += found.ratio.low <= TRUE_RATIO <= found.ratio.high
    assert covered >= 15  # a true 95 % falls below it with a chance of 0.03 %


def population_ratio():
    rng = np.random.default_rng(99)
    real = features(rng, 1500)
    near, far = (KernelDistance(real, features(rng, 1500, shift)).value() for shift in (0.3, 0.5))
    return near / far


TRUE_RATIO = population_ratio()


def test_duplicated_people_are_as_alike_as_can_be():
    rng = np.random.default_rng(6)
    people = features(rng, 20)
    assert realism.nearest_similarity(np.vstack([people, people])) == pytest.approx(1.0)
    assert realism.nearest_similarity(people) < 0.9
    assert np.isnan(realism.nearest_similarity(people[:1]))


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_likeness_depends_neither_on_order_nor_on_scale(seed):
    rng = np.random.default_rng(seed)
    people = features(rng, 15)
    shuffled = rng.permutation(people) * rng.uniform(0.1, 10, (15, 1))
    assert realism.nearest_similarity(shuffled) == pytest.approx(realism.nearest_similarity(people))


def test_likeness_of_sets_of_different_size_is_compared_fairly():
    rng = np.random.default_rng(7)
    likeness = realism.compare_likeness(features(rng, 60), features(rng, 600), draws=60)
    assert likeness.ratio.value == pytest.approx(1.0, abs=0.1)
    assert likeness.all_ours > likeness.all_real  # the nearest of many is nearer
    alike = realism.compare_likeness(features(rng, 60), features(rng, 60) * 0.2 + 1.0, draws=60)
    assert alike.ratio.value > 1.5


def test_the_most_frontal_picture_of_each_person_stands_for_them():
    rng = np.random.default_rng(8)
    some = faces(rng, 5, 4)
    chosen = realism.one_each(some)
    for person in range(5):
        mine = some.people == person
        assert np.array_equal(chosen[person], some.descriptors[mine][some.yaw_deg[mine].argmin()])


def test_an_estimate_leaves_undefined_draws_out():
    assert Estimate.of(1.0, [np.nan, 2.0, 2.0]) == Estimate(1.0, 2.0, 2.0)
    assert np.isnan(Estimate.of(1.0, []).low)


def test_a_cut_is_the_mean_of_what_each_pixel_covers():
    rng = np.random.default_rng(9)
    image = rng.integers(0, 256, (90, 90, 3), np.uint8)
    reduced = realism.cut(image, np.array([[3.0, 0, 1], [0, 3, 1]]), 30)
    means = image.reshape(30, 3, 30, 3, 3).mean(axis=(1, 3))
    assert np.abs(reduced - means).max() <= 1


def test_a_similarity_is_found_again():
    rng = np.random.default_rng(10)
    points = rng.normal(size=(5, 2))
    turn = 1.7 * np.array([[0.8, -0.6], [0.6, 0.8]])
    found = realism.similarity_transform(points, points @ turn.T + (3, 4))
    assert np.allclose(found, np.column_stack([turn, (3, 4)]))


def test_infrared_is_told_from_colour():
    grey = np.repeat(np.random.default_rng(11).integers(0, 256, (32, 32, 1), np.uint8), 3, axis=2)
    assert realism.is_grey(grey)
    assert not realism.is_grey(grey // 2 + np.array([0, 20, 60], np.uint8))


def test_weights_of_the_old_torch_format_are_read_without_running_its_code():
    values = np.arange(6, dtype=np.float32)
    state = OrderedDict(weight=("rebuild", ("storage", "0", 1), (2, 3), (1, 2)))
    data = _torch_file(state, values)
    weights = realism.read_torch_weights(data)
    assert np.array_equal(weights["weight"], [[0, 2, 4], [1, 3, 5]])
    with pytest.raises(KeyError):
        realism.read_torch_weights(pickle.dumps(os.getcwd))


def _torch_file(state, values):
    class Storage:
        def __init__(self, key):
            self.key = key

    class Tensor:
        def __init__(self, storage, size, stride):
            self.parts = storage, 0, size, stride, False, OrderedDict()

        def __reduce__(self):
            return _rebuild_tensor_v2, self.parts

    class Writer(pickle.Pickler):
        def persistent_id(self, thing):
            return ("storage", FloatStorage, thing.key, "cpu", 6, None) if isinstance(thing, Storage) else None

    file = io.BytesIO()
    (_, _, size, stride) = state["weight"]
    for thing in (1, 1001, {}, OrderedDict(weight=Tensor(Storage("0"), size, stride)), ["0"]):
        Writer(file, protocol=2).dump(thing)
    return file.getvalue() + struct.pack("<q", len(values)) + values.tobytes()


class FloatStorage:
    """Stands for the class of that name: only its name is read."""


def _rebuild_tensor_v2(*parts):
    raise AssertionError("a file's code was run")


def test_packed_shards_are_unpacked():
    manifest = [
        {
            "paths": ["a"],
            "weights": [
                {
                    "name": "packed",
                    "shape": [3],
                    "dtype": "float32",
                    "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1},
                },
                {"name": "plain", "shape": [1, 2], "dtype": "float32"},
            ],
        }
    ]
    data = bytes([0, 2, 4]) + np.array([7, 8], np.float32).tobytes()
    tensors = realism.read_shards(manifest, {"a": data}.__getitem__)
    assert tensors["packed"].tolist() == [-1.0, 0.0, 1.0]
    assert tensors["plain"].tolist() == [[7.0, 8.0]]


def test_a_package_that_cannot_be_had_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    package = Package("@scope/missing", "1.2.3", "missing.tgz", "0" * 64, "npm")
    with pytest.raises(DashgazeError, match=r"@scope/missing 1\.2\.3.*missing\.tgz"):
        realism.fetch(package, tmp_path)


def test_a_package_with_other_content_is_refused(tmp_path):
    (tmp_path / "x.tgz").write_bytes(b"other")
    package = Package("x", "1", "x.tgz", hashlib.sha256(b"expected").hexdigest(), "npm")
    with pytest.raises(DashgazeError, match="SHA-256"):
        realism.fetch(package, tmp_path)


def test_an_empty_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=tmp_path.name):
        list(realism.folder_pictures(tmp_path))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.png"):
        list(realism.folder_pictures(tmp_path))


def test_pictures_in_a_row_belong_to_one_person(tmp_path):
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((4, 4, 3), np.uint8))
    assert [person for _, person in realism.folder_pictures(tmp_path, 2)] == [0, 0, 1, 1, 2]


def test_descriptions_survive_being_kept(tmp_path):
    some = faces(np.random.default_rng(12), 4, 2)
    realism.save_faces(tmp_path / "kept.npz", some)
    again = realism.load_faces(tmp_path / "kept.npz")
    assert np.array_equal(again.features, some.features)
    assert (again.pictures, again.found, again.left_out) == (some.pictures, some.found, some.left_out)


# --- the benchmark of the synthetic cabin: what needs no rendering ---


def fake_drive(path: Path, turn_deg=0.0, frames=12):
    """A session with consistent labels and black pictures; `turn_deg` turns one gaze ray away from its target."""
    rng = np.random.default_rng(3)
    camera = Camera.from_fov((320, 180), 60)
    mount, place_mm = facing_rotation(20, -10, 2), np.array([300.0, -100, 500])
    targets_mm = rng.uniform((-2000, -300, 600), (2000, 500, 4000), (frames, 3))
    eyes_mm = rng.normal(0, 20, (frames, 3))
    heads = [tuple(angles) for angles in rng.uniform(-20, 20, (frames, 3))]
    eyes_in_camera_mm = (eyes_mm - place_mm) @ mount
    rays = unit((targets_mm - eyes_mm) @ mount)
    car_azimuth, car_elevation = angles_from_rays(targets_mm - eyes_mm)
    in_face = np.array([ray @ facing_rotation(*head) for ray, head in zip(rays, heads, strict=True)])
    azimuth, elevation = angles_from_rays(in_face)
    rays[4] = rays[4] @ rotation_y(turn_deg)
    side_mm = np.array([facing_rotation(*head)[:, 0] for head in heads]) * 31.5
    eyeballs_mm = {"left": eyes_in_camera_mm - side_mm, "right": eyes_in_camera_mm + side_mm}
    xyz = {"ray": ("", rays), "eye_mid": ("_mm", eyes_in_camera_mm), "head": ("_mm", eyes_in_camera_mm)}
    common = {"t_s": np.arange(frames) / 2, "driver_frame": np.arange(frames)}
    rows = common | {
        "angle_status": ["ok"] * frames,
        "location_status": ["off_view"] * frames,
        "azimuth_deg": azimuth,
        "elevation_deg": elevation,
        "car_azimuth_deg": car_azimuth,
        "car_elevation_deg": car_elevation,
        "eyes_closed": [False] * frames,
        "zone": ["road_ahead"] * frames,
        **{f"head_{n}_deg": [head[i] for head in heads] for i, n in enumerate(("yaw", "pitch", "roll"))},
        **{f"{name}_{a}{end}": v[:, i] for name, (end, v) in xyz.items() for i, a in enumerate("xyz")},
    }
    truth = common | {f"target_{a}_mm": targets_mm[:, i] for i, a in enumerate("xyz")} | {"light": ["day"] * frames}
    for side, centres_mm in eyeballs_mm.items():
        own = unit((targets_mm - place_mm) @ mount - centres_mm)
        truth |= {f"{side}_eyeball_{a}_mm": centres_mm[:, i] for i, a in enumerate("xyz")}
        truth |= {f"{side}_eye_ray_{a}": own[:, i] for i, a in enumerate("xyz")}
    matrix = tuple(tuple(float(v) for v in row) for row in camera.matrix)
    described = contract.Camera(size_px=camera.size_px, K=matrix, distortion=(), mirrored=False)
    header = contract.SessionHeader(
        session_id=path.name,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        driver_id="person",
        cameras=contract.Cameras(driver=described),
        primary_stream="driver",
        versions=contract.Versions(dashgaze="0", python="3"),
    )
    with contract.write_session(path) as writer:
        writer.append("frames", rows)
        writer.append("labels", truth)
        writer.describe(header)
        video = cv2.VideoWriter(str(writer.folder / "driver.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 2, camera.size_px)
        for _ in range(frames):
            video.write(np.zeros((180, 320, 3), np.uint8))
        video.release()
    return contract.read_session(path)


def test_consistent_labels_agree_and_a_turned_ray_is_found(tmp_path):
    assert synth_labels.disagreement(fake_drive(tmp_path / "right")).worst_deg < 1e-9
    found = synth_labels.disagreement(fake_drive(tmp_path / "wrong", turn_deg=0.1))
    assert found.target_deg == pytest.approx(0.1, rel=0.5)
    assert synth_labels.disagreement(fake_drive(tmp_path / "short", frames=5)) is None


def test_drives_without_any_face_make_a_report(tmp_path, bundle):
    session = fake_drive(tmp_path / "drive")
    views = synth.watch_session(session, synth.Watcher(bundle), 0)
    assert len(views) == 12
    assert not views.found.any()
    notes = synth.Notes()
    notes.put("head_pose_error_deg_median", synth.head_pose_error(views))
    notes.put("iris_reprojection_eye_widths_median", synth.iris_reprojection(views))
    assert not notes.metrics
    assert "Gaze grid" in synth.faces_section(notes, views)
    assert np.isnan(synth.timing([np.zeros(0)], [np.zeros(0)], 0.2, 1.0).recall)
    assert synth.follow(session, bundle).t_s.tolist() == (np.arange(12) / 2).tolist()
    assert len(synth.blinks_of(synth.follow(session, bundle))) == 0


def test_a_session_has_the_digest_of_its_content_and_not_of_its_date(tmp_path):
    first, second = (fake_drive(tmp_path / name / "same").path for name in "ab")
    file = second / "session.json"
    file.write_text(file.read_text().replace("2026-01-01", "2027-01-01"))
    assert synth.digest(first) == synth.digest(second)
    assert synth.digest(fake_drive(tmp_path / "c" / "same", turn_deg=0.1).path) != synth.digest(first)


def test_blinks_are_timed_and_long_closures_are_none():
    t_s = np.arange(0, 30, 1 / 15)
    openness = np.full(len(t_s), 0.9)
    for middle, length in ((5.0, 0.2), (12.03, 0.3), (20.0, 2.0)):
        openness[np.abs(t_s - middle) < length / 2] = 0.1
    found = synth.blinks_of(synth.Signals(t_s, openness, openness))
    assert np.allclose(found, [5.0, 12.03], atol=1 / 15)
    measured = synth.timing([np.array([5.0, 12.03, 25.0])], [found], 0.25, 0.5)
    assert measured.recall == pytest.approx(2 / 3)
    assert measured.false_per_min == 0
    assert measured.error_s < 1 / 15


def test_runs_reach_half_a_sample_beyond_their_samples():
    inside = np.array([True, True, False, True])
    assert synth.runs(inside, np.arange(4.0)) == [(-0.5, 1.5), (2.5, 3.5)]


def test_an_interval_over_drivers_is_wider_than_one_over_frames():
    rng = np.random.default_rng(13)
    drivers = np.repeat(np.arange(10), 30)
    values = rng.normal(size=10)[drivers] + 0.1 * rng.normal(size=300)
    by_driver = synth.estimate(synth.median, values, drivers)
    by_frame = synth.estimate(synth.median, values, np.arange(300))
    assert by_driver.high - by_driver.low > 2 * (by_frame.high - by_frame.low)
    assert by_driver.value == by_frame.value


# --- with the networks ---


@pytest.fixture(scope="module")
def reader():
    for package in (realism.EFFICIENTNET, realism.FACE_API):
        if not (realism.PACKAGES / package.file).exists():
            pytest.skip(f"{package.name} is not there: run python -m benchmarks.realism once")
    return realism.FaceReader()


@pytest.mark.slow
def test_one_man_is_recognised_among_strangers(reader, data: Path):
    strangers = reader.read(
        picture for picture, _ in zip(realism.real_pictures(data, "tuning"), range(40), strict=False)
    )
    man = reader.read(realism.incar_pictures(data, "tuning"))
    centre = strangers.descriptors.mean(axis=0)
    units = [
        (rows.descriptors - centre) / np.linalg.norm(rows.descriptors - centre, axis=1, keepdims=True)
        for rows in (strangers, man)
    ]
    among = [similarity[np.triu_indices(len(similarity), 1)] for similarity in (unit @ unit.T for unit in units)]
    assert np.median(among[1]) > 0.5 > np.percentile(among[0], 99)


def test_pictures_without_a_face_are_counted(reader):
    nothing = reader.read([(np.zeros((120, 160, 3), np.uint8), 0), (np.full((120, 160, 3), 200, np.uint8), 1)])
    assert (nothing.pictures, nothing.found, len(nothing)) == (2, 0, 0)
