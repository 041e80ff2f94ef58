"""Real pictures without ground truth: what the measures must say of estimators that are known."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_eyes import BUNDLE

from benchmarks import gaze_real
from benchmarks.gaze_real import (
    FAIRFACE_DARK,
    FAIRFACE_GLASSES,
    FAIRFACE_LOOKS,
    INCAR_LOOKS,
    Clip,
    Closed,
    Finder,
    Looker,
    LookerCheck,
    Number,
    Rays,
    RealCheck,
    Stills,
    choose_run,
    filtered,
    look_at_stills,
    numbers_in,
    selection_score,
)
from dashgaze.device.gaze import Look
from dashgaze.errors import InputError
from dashgaze.geometry import FACING, angle_between_deg, facing_rotation, rays_from_angles, unit
from dashgaze.training.gaze.unlabelled import half_of

RNG = np.random.default_rng(0)


class Told:
    """An estimator that looks into a direction against the line to the camera."""

    def __init__(self, azimuth_deg=0.0):
        self._azimuth_deg = azimuth_deg

    def look(self, frame, face, head, apertures):
        away = facing_rotation(self._azimuth_deg, 0, 0)[:, 2]
        to_camera = -unit(head.position_mm)
        return Look(unit(to_camera + away - [0, 0, -1]), 5.0)


def told(name, azimuth_deg=0.0):
    return Looker(name, lambda camera, eyes: Told(azimuth_deg))


def stills_of(rays, numbers):
    """FairFace stills without pictures: heads 10 deg off the camera, to either side."""
    n = len(numbers)
    return Stills(
        numbers=numbers,
        rotation=np.array([facing_rotation(10.0 if k % 2 else -10.0, 0, 0) for k in range(n)]),
        eye_mid_mm=np.tile([30.0, -20.0, 700.0], (n, 1)),
        rays=rays,
        found=dict.fromkeys(numbers, False),
        pictures=n,
    )


def rays_of(plain, mirrored=None):
    shaken = np.repeat(plain[:, None], 4, axis=1)
    return Rays(plain, plain if mirrored is None else mirrored, shaken, np.ones(len(plain), bool))


def labelled():
    """Numbers of labelled stills, and gaze that goes where they were judged to look."""
    angles = {"camera": (0, 0), "left": (25, 0), "right": (-25, 0), "down": (0, -25)}
    pairs = [(number, angles[word]) for word, table in FAIRFACE_LOOKS.items() for number in numbers_in(table)]
    to_camera = -unit([30.0, -20.0, 700.0])
    rays = [unit(to_camera + FACING @ rays_from_angles(*each) - [0, 0, -1]) for _, each in pairs]
    return [number for number, _ in pairs], np.array(rays)


def gaze_at(azimuth_deg, elevation_deg):
    """Rays (n, 3) in the camera frame."""
    return rays_from_angles(azimuth_deg, elevation_deg) @ FACING


def clip_of(rays, t_s=None, yaw_deg=None):
    n = len(next(iter(rays.values())))
    yaw_deg = np.zeros(n) if yaw_deg is None else yaw_deg
    rotation = np.array([facing_rotation(float(yaw), 0, 0) for yaw in yaw_deg])
    return Clip("clip", np.arange(n) / 30 if t_s is None else t_s, rotation, yaw_deg, np.ones(n), np.zeros(n), rays)


def test_gaze_that_goes_where_people_look_gets_full_marks():
    numbers, rays = labelled()
    found = gaze_real.judge_faces(stills_of({"network": rays_of(rays)}, numbers), "network")
    for key in ("camera_auc", "camera_auc_turned", "side_agreement", "side_auc", "down_auc", "trusted"):
        assert found[key].value == 1
    for key in ("looking_deg", "looking_left_deg", "looking_up_deg", "mirror_deg", "noise_deg"):
        assert found[key].value == pytest.approx(0, abs=1e-6)


def test_gaze_mirrored_by_mistake_gets_the_sides_wrong_and_differs_from_its_mirror_image():
    numbers, rays = labelled()
    turned = rays * [-1, 1, 1]
    found = gaze_real.judge_faces(stills_of({"network": rays_of(turned, rays)}, numbers), "network")
    assert found["side_agreement"].value == 0
    assert found["mirror_deg"].value > 5


def test_gaze_that_knows_nothing_orders_by_chance():
    numbers, _ = labelled()
    rays = unit(RNG.normal(size=(len(numbers), 3)) * [0.3, 0.3, 0.01] - [0, 0, 1])
    found = gaze_real.judge_faces(stills_of({"network": rays_of(rays)}, numbers), "network")
    assert found["camera_auc"].low < 0.5 < found["camera_auc"].high
    assert 0.3 < found["side_auc"].value < 0.7


def test_the_same_eyes_agree_with_the_geometric_estimate_and_the_heads_direction_has_nothing_to_agree_with():
    numbers, rays = labelled()
    stills = stills_of({name: rays_of(rays) for name in ("network", "geometric")}, numbers)
    heads = stills_of({"network": rays_of(stills.rotation[:, :, 2]), "geometric": rays_of(rays)}, numbers)
    found = gaze_real.judge_faces(stills, "network")
    assert found["azimuth_r"].value == pytest.approx(1)
    assert found["elevation_glasses_r"].value == pytest.approx(1)
    assert found["geometric_deg"].value == pytest.approx(0, abs=1e-6)
    assert gaze_real.judge_faces(heads, "network")["azimuth_r"].value is None
    assert "azimuth_r" not in gaze_real.judge_faces(stills, "geometric")


@settings(max_examples=5, deadline=None)
@given(jitter_deg=st.floats(0.05, 3))
def test_jitter_at_rest_is_what_was_put_in_and_the_filter_takes_from_it(jitter_deg):
    rays = gaze_at(*np.random.default_rng(1).normal(0, jitter_deg, (2, 90)))
    clip = clip_of({"network": rays, "geometric": rays})
    found = gaze_real.judge_clips([clip], "network")
    assert found["jitter_deg"].value == pytest.approx(1.67 * jitter_deg, rel=0.35)  # Rayleigh's median times sqrt 2
    assert found["jitter_filtered_deg"].value < 0.6 * found["jitter_deg"].value
    assert found["jitter_ratio"].value == pytest.approx(1)


def test_frames_with_a_turning_head_a_blink_or_a_gap_are_no_rest():
    n = 40
    yaw, t_s, lids = np.zeros(n), np.arange(n) / 30, np.ones(n)
    yaw[10:] += 5
    t_s[20:] += 1
    lids[30] = 0.2
    clip = replace(clip_of({"network": np.zeros((n, 3))}, t_s, yaw), lids=lids)
    assert set(np.flatnonzero(~clip.at_rest())) == {9, 19, 29, 30}


def test_gaze_that_turns_with_the_head_follows_it_and_gaze_that_turns_against_it_does_not():
    yaw = np.linspace(-40, 40, 60)
    rays = {name: gaze_at(share * yaw, 0 * yaw) for name, share in (("with", 0.8), ("against", -1.0))}
    clip = clip_of(rays, yaw_deg=yaw)
    right, wrong = (gaze_real.judge_clips([clip], name) for name in rays)
    assert right["turn_slope"].value == pytest.approx(0.8)
    assert right["turn_sign"].value == 1
    assert wrong["turn_r"].value == pytest.approx(-1)
    assert wrong["turn_sign"].value == 0


def test_the_filter_starts_afresh_behind_a_gap():
    rays = np.tile([0.0, 0.0, -1.0], (6, 1))
    rays[2], rays[3:] = np.nan, unit([0.5, 0.0, -1.0])
    smooth = filtered(np.arange(6) / 30, rays)
    assert np.isnan(smooth[2]).all()
    assert np.allclose(smooth[3], rays[3])


@settings(max_examples=10, deadline=None)
@given(st.integers(2, 40))
def test_an_interval_holds_its_value_and_comes_out_the_same_each_time(n):
    values = np.random.default_rng(n).normal(size=n)
    found = gaze_real.mean_of(values)
    assert found.low <= found.value <= found.high
    assert found == gaze_real.mean_of(np.r_[values, np.nan])


def test_one_value_is_no_statistic():
    assert gaze_real.median_of(np.array([1.0])).value is None
    assert gaze_real.ordering(np.arange(4.0), np.ones(4, bool), np.zeros(4, bool)).value is None


def test_a_still_was_judged_to_look_one_way_and_each_half_has_many():
    for table in (FAIRFACE_LOOKS, INCAR_LOOKS):
        each = [numbers_in(numbers) for numbers in table.values()]
        assert sum(map(len, each)) == len(set().union(*each))
    halves = [half_of(Path(f"fairface_{n:04d}.jpg")) for table in FAIRFACE_LOOKS.values() for n in numbers_in(table)]
    assert min(halves.count("tuning"), halves.count("held-out")) >= 60
    assert not numbers_in(FAIRFACE_GLASSES) & numbers_in(FAIRFACE_DARK)


# --- choosing ---


def real_of(half="tuning", **values):
    numbers = {"camera_auc_turned": 0.9, "side_auc": 1.0, "looking_deg": 8.0, "mirror_deg": 4.0, "noise_deg": 2.0}
    numbers["elsewhere_deg"] = 40.0
    entries = {key: Number(value=v, low=None, high=None, n=9) for key, v in (numbers | values).items()}
    closed = Closed(asleep=0, told=0, awake=0, false=0, looking=0, looking_false=0)
    looks = {"network": LookerCheck(numbers=entries, clip_jitter_deg={})}
    return RealCheck(half=half, pictures=9, faces=9, closed=closed, looks=looks)


def test_the_score_rises_with_right_order_and_falls_with_each_degree():
    score = selection_score(real_of())
    assert score == pytest.approx(0.95 - 14 / 40)
    assert selection_score(real_of(camera_auc_turned=1.0)) > score
    for key in ("looking_deg", "mirror_deg", "noise_deg"):
        assert selection_score(real_of(**{key: 9.0})) < score


@given(share=st.floats(0.05, 5))
def test_gaze_that_shrinks_towards_the_camera_gains_nothing(share):
    degrees = {"looking_deg": 8.0, "mirror_deg": 4.0, "noise_deg": 2.0, "elsewhere_deg": 40.0}
    shrunken = {key: share * value for key, value in degrees.items()}
    assert selection_score(real_of(**shrunken)) == pytest.approx(selection_score(real_of(**degrees)))


def test_no_score_comes_from_the_held_out_half_or_from_too_little():
    with pytest.raises(InputError, match="not to choose by"):
        selection_score(real_of("held-out"))
    with pytest.raises(InputError, match="too few faces"):
        selection_score(real_of(side_auc=None))
    with pytest.raises(InputError, match="no estimator 'fused'"):
        selection_score(real_of(), "fused")


def test_the_real_score_chooses_among_runs_that_are_about_as_good_on_renders():
    errors = {"best": 5.0, "near": 5.2, "far": 5.3}
    assert choose_run(errors, {"best": 0.7, "near": 0.8, "far": 0.9}) == "near"
    assert choose_run(errors, {"best": 0.7, "near": 0.6, "far": 0.9}) == "best"


def test_a_check_survives_json():
    assert RealCheck.model_validate_json(real_of().model_dump_json()) == real_of()


# --- pictures ---


@pytest.fixture(scope="module")
def stills(carphone, tmp_path_factory):
    """Three frames of the clip as stills."""
    folder = tmp_path_factory.mktemp("stills")
    capture = cv2.VideoCapture(str(carphone))
    for number in range(1, 62):
        picture = capture.read()[1]
        if number % 30 == 1:
            cv2.imwrite(str(folder / f"fairface_{number:04d}.png"), picture)
    capture.release()
    looks = [told("camera"), told("aside", 12.0), *gaze_real.baselines(BUNDLE)]
    return look_at_stills(Finder(BUNDLE), sorted(folder.glob("*.png")), looks)


def test_the_camera_looks_the_same_in_the_mirror_and_a_side_does_not(stills):
    assert np.allclose(stills.to_camera_deg("camera"), 0, atol=1e-4)
    assert (stills.rays["camera"].mirror_deg() < 2).all()
    apart = angle_between_deg(stills.rays["aside"].plain, stills.rays["aside"].mirrored)
    assert (np.abs(apart - 24) < 4).all()
    left_deg, _ = stills.aside_deg("aside")
    assert (left_deg > 8).all()  # positive azimuth is to the driver's right: the left of the picture


def test_the_devices_estimators_nearly_keep_their_word_in_the_mirror_and_under_noise(stills):
    for name in ("geometric", "head"):
        assert (stills.rays[name].mirror_deg() < 15).all()
        assert (stills.rays[name].noise_deg() < 12).all()
    assert stills.rays["head"].noise_deg().max() < stills.rays["geometric"].noise_deg().min()


def test_stills_without_a_face_are_refused(tmp_path):
    picture = tmp_path / "fairface_0001.png"
    cv2.imwrite(str(picture), np.full((64, 64, 3), 120, np.uint8))
    with pytest.raises(InputError, match="shows no open-eyed face"):
        look_at_stills(Finder(BUNDLE), [picture], [told("camera")])


def test_pictures_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InputError, match="name the folder of real recordings"):
        gaze_real.check([told("camera")], tmp_path, "tuning", BUNDLE)


@pytest.mark.slow
def test_the_geometric_estimate_is_nearer_to_the_camera_than_the_head_where_people_look_into_it(data, tmp_path):
    faces, driver = tmp_path / gaze_real.FAIRFACE, tmp_path / gaze_real.INCAR
    faces.mkdir(), driver.mkdir(parents=True)
    for number in sorted(n for n in set().union(*map(numbers_in, FAIRFACE_LOOKS.values())) if n % 2)[:40]:
        shutil.copy(data / gaze_real.FAIRFACE / f"fairface_{number:04d}.jpg", faces)
    for path in (data / gaze_real.INCAR).glob("*"):
        shutil.copy(path, driver)
    real = gaze_real.check(gaze_real.baselines(BUNDLE), tmp_path, "tuning", BUNDLE)
    geometric, head = (real.looks[name].numbers for name in ("geometric", "head"))
    assert geometric["looking_deg"].value < head["looking_deg"].value
    assert geometric["camera_auc"].value > 0.9
    assert real.closed.false <= 1
    assert gaze_real.markdown(real).count("\n| ") > 30
